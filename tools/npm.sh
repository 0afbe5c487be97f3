#!/bin/sh
# npm.sh installs the packages of package-lock.json, unless they are there already.
# It exits with 0 when they are, and with 3 where there is no npm; on CI that is a failure, elsewhere the caller goes on without.
set -eu
cd "$(dirname "$0")"

if ! command -v npm >/dev/null; then
	if [ "${CI:-}" = true ]; then
		echo "npm is missing: install Node.js 20 or later" >&2
		exit 1
	fi
	exit 3
fi
if [ ! -e node_modules/.package-lock.json ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
	npm ci --silent
	touch node_modules/.package-lock.json
fi
