#!/bin/sh
# generate.sh makes all generated code anew from the contracts: Go from the .proto files, and from each openapi.yaml the JSON that
# the binary holds, the gin server, the Go client and the TypeScript definitions. Without npm it leaves the TypeScript as it is, except on CI, where that
# is a failure. Running it twice changes nothing.
set -eu
cd "$(dirname "$0")/.."

# Those of the modules, and the platform's own.
documents=$(echo modules/*/v1/openapi.yaml platform/ops/v1/openapi.yaml)

tool() { go tool -modfile=tools/go.mod "$@"; }

tool buf generate
go tool cleave openapi $documents

for document in $documents; do
	home=${document%/v1/openapi.yaml}
	module=${home##*/}
	server=$home/internal/api/server.gen.go
	mkdir -p "$home/internal/api" "$home/v1/rest"
	tool oapi-codegen -config tools/oapi/server.yaml -package api -o "$server.tmp" "$document"
	# The generator begins its error texts with a capital letter, and hands the *gin.Context on as the handler's context. gin uses
	# that one again for the next request, while goroutines of database/sql may still look at it.
	awk '/return sh\.ssi\./ { sub(/\(ctx, /, "(ctx.Request.Context(), ") }
		{ print }
		/^package / { print "\n//lint:file-ignore ST1005 generated" }' "$server.tmp" >"$server"
	rm "$server.tmp"
	tool oapi-codegen -config tools/oapi/client.yaml -package "${module}rest" -o "$home/v1/rest/client.gen.go" "$document"
done

# In the format of all other code, so that whoever checks a generated file by its name finds nothing.
tool gofumpt -w modules/*/v1/*.pb.go platform/*/v1/*.pb.go modules/*/v1/rest/client.gen.go modules/*/internal/api/server.gen.go platform/ops/v1/rest/client.gen.go platform/ops/internal/api/server.gen.go

npm=0
tools/npm.sh || npm=$?
case $npm in
0)
	for document in $documents; do
		home=${document%/v1/openapi.yaml}
		tools/node_modules/.bin/openapi-typescript "$document" --output "$home/v1/rest/${home##*/}.d.ts" >/dev/null
	done
	;;
3) echo "npm is missing: the TypeScript definitions are left as they are" >&2 ;;
*) exit "$npm" ;;
esac
