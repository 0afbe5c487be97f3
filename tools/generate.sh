#!/bin/sh
# generate.sh makes all generated code anew from the contracts: Go from the .proto files, and from each openapi.yaml the JSON that
# the binary holds, the gin server, the Go client and the TypeScript definitions. Without npm it leaves the TypeScript as it is, except on CI, where that
# is a failure. Running it twice changes nothing.
set -eu
cd "$(dirname "$0")/.."

tool() { go tool -modfile=tools/go.mod "$@"; }

tool buf generate
go tool cleave openapi modules/*/v1/openapi.yaml

for document in modules/*/v1/openapi.yaml; do
	module=${document#modules/}
	module=${module%%/*}
	server=modules/$module/internal/api/server.gen.go
	mkdir -p "modules/$module/internal/api" "modules/$module/v1/rest"
	tool oapi-codegen -config tools/oapi/server.yaml -package api -o "$server.tmp" "$document"
	# The generator begins its error texts with a capital letter, and hands the *gin.Context on as the handler's context. gin uses
	# that one again for the next request, while goroutines of database/sql may still look at it.
	awk '/return sh\.ssi\./ { sub(/\(ctx, /, "(ctx.Request.Context(), ") }
		{ print }
		/^package / { print "\n//lint:file-ignore ST1005 generated" }' "$server.tmp" >"$server"
	rm "$server.tmp"
	tool oapi-codegen -config tools/oapi/client.yaml -package "${module}rest" -o "modules/$module/v1/rest/client.gen.go" "$document"
done

# In the format of all other code, so that whoever checks a generated file by its name finds nothing.
tool gofumpt -w modules/*/v1/*.pb.go modules/*/v1/rest/client.gen.go modules/*/internal/api/server.gen.go

npm=0
tools/npm.sh || npm=$?
case $npm in
0)
	for document in modules/*/v1/openapi.yaml; do
		module=${document#modules/}
		module=${module%%/*}
		tools/node_modules/.bin/openapi-typescript "$document" --output "modules/$module/v1/rest/$module.d.ts" >/dev/null
	done
	;;
3) echo "npm is missing: the TypeScript definitions are left as they are" >&2 ;;
*) exit "$npm" ;;
esac
