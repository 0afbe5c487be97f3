#!/bin/sh
# lint-api.sh checks the contracts: buf the .proto files, Spectral each openapi.yaml, the TypeScript compiler what was generated
# from it. A warning is a failure. Without npm only buf runs, except on CI, where that is a failure.
set -eu
cd "$(dirname "$0")/.."

go tool -modfile=tools/go.mod buf lint

# Those of the modules, and the platform's own.
documents=$(echo modules/*/v1/openapi.yaml platform/ops/v1/openapi.yaml)

# What follows this line in a document is common to all of them.
shared='# From here to the end, the modules share this text'
first=
for document in $documents; do
	grep -q "$shared" "$document" || { echo "$document: has no line '$shared'" >&2; exit 1; }
	first=${first:-$document}
	[ "$(sed -n "/$shared/,\$p" "$first")" = "$(sed -n "/$shared/,\$p" "$document")" ] || {
		echo "$document: the text after '$shared' differs from the one in $first" >&2
		exit 1
	}
done

npm=0
tools/npm.sh || npm=$?
case $npm in
0)
	tools/node_modules/.bin/spectral lint --quiet --ruleset tools/spectral.yaml --fail-severity warn $documents
	tools/node_modules/.bin/tsc --noEmit --strict modules/*/v1/rest/*.d.ts platform/ops/v1/rest/*.d.ts
	;;
3) echo "npm is missing: the OpenAPI documents are not checked" >&2 ;;
*) exit "$npm" ;;
esac
