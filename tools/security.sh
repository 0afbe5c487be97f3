#!/bin/sh
# security.sh runs what looks for weaknesses: the authorisation matrix and the attacks on tokens, two foreign OpenID Connect
# implementations, the API rules of OWASP, known vulnerabilities, insecure Go, and every fuzz target for FUZZTIME each (10s).
# GOVULNDB may name a copy of the vulnerability database (file:///folder or https://host).
set -u
cd "$(dirname "$0")/.."

failed=
step() { # step TITLE COMMAND...
	printf '\n=== %s\n' "$1"
	title=$1
	shift
	"$@" || failed="$failed, $title"
}
tool() { go tool -modfile=tools/security.mod "$@"; }

vulnerabilities() {
	db=${GOVULNDB:-https://vuln.go.dev}
	dated=unknown
	case $db in
	file://*) dated=$(sed -n 's/.*"modified": *"\([^"]*\)".*/\1/p' "${db#file://}/index/db.json") || return 1 ;;
	*) dated="today's" ;;
	esac
	echo "vulnerability database: $db ($dated)"
	if out=$(tool govulncheck -db "$db" ./cmd/... 2>&1); then
		echo "$out"
		return
	fi
	echo "$out"
	case $out in
	*"dial tcp"* | *"no such host"* | *"Client.Timeout"*) echo "no vulnerability database could be reached: set GOVULNDB to a copy of one; NOTHING was checked" ;;
	esac
	return 1
}

# Not asked: G115, because it cannot see the bounds that the lines before check; G304 and G703, because the paths are the operator's
# own settings; what starts the servers that tests need, because it is in no binary; G404, because nothing secret is drawn (jitter, the demo's choices); G704, because the demo calls the URL that it is given.
insecure() {
	tool gosec -quiet -exclude-generated -exclude=G115,G304,G404,G703,G704 -exclude-dir=platform/arch -exclude-dir=platform/db/dbtest -exclude-dir=platform/event/eventtest ./cmd/app/... ./modules/... ./platform/...
}

fuzz() {
	found=1
	for file in $(grep -rl --include='*_test.go' '^func Fuzz' cmd modules platform); do
		for target in $(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$file"); do
			found=0
			go test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-10s}" "./$(dirname "$file")" || return 1
		done
	done
	return $found
}

step "authorisation matrix, attacks on tokens, OpenID Connect with foreign implementations" go test -count=1 ./test/security/... ./platform/auth/...
step "contracts, and the API rules of OWASP" tools/lint-api.sh
step "known vulnerabilities" vulnerabilities
step "insecure Go" insecure
step "fuzzing" fuzz

if [ -n "$failed" ]; then
	printf '\nfailed: %s\n' "${failed#, }"
	exit 1
fi
printf '\nall passed\n'
