package rest

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/require"
)

const noteID = "0197a5c2-9a41-7e10-b0c3-5f2d7c8e9a01"

func TestBody(t *testing.T) {
	t.Parallel()
	f := setup(t)
	user := f.as(t, "u1")
	deep := strings.Repeat(`{"note":`, maxJSONDepth+1) + "1" + strings.Repeat("}", maxJSONDepth+1)
	tests := map[string]struct {
		body   string
		status int
		code   string
		fields []string
	}{
		"Minimal":         {`{"title":"a","count":1}`, 201, "", nil},
		"Everything":      {`{"title":"é\u00e9😀\ud83d\ude00","count":100,"price":9007199254740991,"ratio":0.5e0,"kind":"rich","due":"2026-01-02T03:04:05Z","parent":"` + noteID + `","tags":["a","b"],"a/b~c":true,"note":{"title":"x"}}`, 201, "", nil},
		"Spaces":          {" \r\n\t{ \"title\" : \"a\" , \"count\" : 1 } \n", 201, "", nil},
		"Empty":           {"", 400, "body_missing", nil},
		"NotJSON":         {`title=a`, 400, "json_malformed", nil},
		"Truncated":       {`{"title":"a","count":1`, 400, "json_malformed", nil},
		"TrailingComma":   {`{"title":"a","count":1,}`, 400, "json_malformed", nil},
		"TwoDocuments":    {`{"title":"a","count":1}{}`, 400, "json_malformed", nil},
		"Comment":         {`{"title":"a",/**/"count":1}`, 400, "json_malformed", nil},
		"SingleQuotes":    {`{'title':'a','count':1}`, 400, "json_malformed", nil},
		"ByteOrderMark":   {"\ufeff" + `{"title":"a","count":1}`, 400, "json_malformed", nil},
		"BadUTF8":         {"{\"title\":\"a\xff\",\"count\":1}", 400, "json_malformed", nil},
		"OverlongUTF8":    {"{\"title\":\"a\xc0\x80\",\"count\":1}", 400, "json_malformed", nil},
		"NUL":             {"{\"title\":\"a\x00\",\"count\":1}", 400, "json_malformed", nil},
		"EscapedNUL":      {`{"title":"a\u0000","count":1}`, 400, "json_malformed", nil},
		"LoneSurrogate":   {`{"title":"a\ud800","count":1}`, 400, "json_malformed", nil},
		"BadPair":         {`{"title":"a\ud800\u0041","count":1}`, 400, "json_malformed", nil},
		"RepeatedName":    {`{"title":"a","count":1,"count":2}`, 400, "json_malformed", nil},
		"RepeatedEscaped": {`{"title":"a","count":1,"\u0063ount":2}`, 400, "json_malformed", nil},
		"TooDeep":         {deep, 400, "json_malformed", nil},
		"LeadingZero":     {`{"title":"a","count":01}`, 400, "json_malformed", nil},
		"NaN":             {`{"title":"a","count":NaN}`, 400, "json_malformed", nil},
		"LongNumber":      {`{"title":"a","count":` + strings.Repeat("1", 101) + `}`, 400, "json_malformed", nil},
		"Array":           {`[]`, 400, "invalid", []string{" type"}},
		"Null":            {`null`, 400, "invalid", []string{" type"}},
		"Missing":         {`{"title":"a"}`, 400, "invalid", []string{"/count required"}},
		"MissingBoth":     {`{}`, 400, "invalid", []string{"/count required", "/title required"}},
		"Unknown":         {`{"title":"a","count":1,"admin":true}`, 400, "invalid", []string{"/admin unknown_field"}},
		"OtherCase":       {`{"title":"a","COUNT":1,"count":1}`, 400, "invalid", []string{"/COUNT unknown_field"}},
		"UnknownNested":   {`{"title":"a","count":1,"note":{"a/~":1}}`, 400, "invalid", []string{"/note/a~1~0 unknown_field"}},
		"WrongType":       {`{"title":1,"count":"1"}`, 400, "invalid", []string{"/count type", "/title type"}},
		"NullField":       {`{"title":null,"count":1}`, 400, "invalid", []string{"/title type"}},
		"PointerEscapes":  {`{"title":"a","count":1,"a/b~c":1}`, 400, "invalid", []string{"/a~1b~0c type"}},
		"Fraction":        {`{"title":"a","count":1.5}`, 400, "invalid", []string{"/count type"}},
		"WholeFraction":   {`{"title":"a","count":1.0}`, 400, "invalid", []string{"/count type"}},
		"Exponent":        {`{"title":"a","count":1e1}`, 400, "invalid", []string{"/count type"}},
		"BeyondInt64":     {`{"title":"a","count":1,"price":9223372036854775808}`, 400, "invalid", []string{"/price type"}},
		"HugeExponent":    {`{"title":"a","count":1,"ratio":1e999}`, 400, "invalid", []string{"/ratio type"}},
		"Negative":        {`{"title":"a","count":-1}`, 422, "unprocessable", []string{"/count too_small"}},
		"Zero":            {`{"title":"a","count":0}`, 422, "unprocessable", []string{"/count too_small"}},
		"TooLarge":        {`{"title":"a","count":101}`, 422, "unprocessable", []string{"/count too_large"}},
		"BeyondInt32":     {`{"title":"a","count":4294967297}`, 422, "unprocessable", []string{"/count format", "/count too_large"}},
		"BeyondExact":     {`{"title":"a","count":1,"price":9007199254740993}`, 422, "unprocessable", []string{"/price too_large"}},
		"MaxInt64":        {`{"title":"a","count":1,"price":9223372036854775807}`, 422, "unprocessable", []string{"/price too_large"}},
		"TooShort":        {`{"title":"","count":1}`, 422, "unprocessable", []string{"/title too_short"}},
		"TooLong":         {`{"title":"` + strings.Repeat("é", 21) + `","count":1}`, 422, "unprocessable", []string{"/title too_long"}},
		"Pattern":         {`{"title":"a!","count":1}`, 422, "unprocessable", []string{"/title pattern"}},
		"Enum":            {`{"title":"a","count":1,"kind":"odd"}`, 422, "unprocessable", []string{"/kind not_allowed"}},
		"DateTime":        {`{"title":"a","count":1,"due":"yesterday"}`, 422, "unprocessable", []string{"/due format"}},
		"UUID":            {`{"title":"a","count":1,"parent":"zzzzzzzz-9a41-7e10-b0c3-5f2d7c8e9a01"}`, 422, "unprocessable", []string{"/parent format"}},
		"TooManyItems":    {`{"title":"a","count":1,"tags":["a","b","c","d"]}`, 422, "unprocessable", []string{"/tags too_many"}},
		"BadItem":         {`{"title":"a","count":1,"tags":["a","","ccccccc"]}`, 422, "unprocessable", []string{"/tags/1 too_short", "/tags/2 too_long"}},
		"FormBeforeValue": {`{"title":"","count":"x"}`, 400, "invalid", []string{"/count type", "/title too_short"}},
		"ManyUnknown":     {`{"title":"a","count":1` + manyFields(400) + `}`, 400, "invalid", nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := f.do(t, "POST", "/api/v1/notes", tt.body, user...)
			require.Equal(t, tt.status, r.status, r.body)
			if tt.status == 201 {
				return
			}
			p := r.problem(t)
			require.Equal(t, tt.code, p.Code)
			if tt.code == "json_malformed" {
				require.Regexp(t, `at byte \d+: `, p.Detail)
			}
			if tt.fields != nil {
				require.Equal(t, tt.fields, p.codes())
			}
		})
	}
}

func manyFields(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"x%d":1`, i)
	}
	return b.String()
}

func TestBody_DefaultsReachTheHandler(t *testing.T) {
	t.Parallel()
	f := setup(t)
	r := f.do(t, "POST", "/api/v1/notes", `{"title":"a","count":1}`, f.as(t, "u1")...)
	require.Equal(t, 201, r.status)
	require.Contains(t, r.body, `"kind":"plain"`)
}

func TestBody_Messages(t *testing.T) {
	t.Parallel()
	f := setup(t)
	r := f.do(t, "POST", "/api/v1/notes", `{"title":"secret!","count":1000000}`, f.as(t, "u1")...)
	require.NotContains(t, r.body, "secret")
	require.Equal(t, []FieldError{
		{"/count", "too_large", "must be at most 100"},
		{"/title", "pattern", "must match ^[^!]*$"},
	}, r.problem(t).Errors)
	require.Equal(t, "the request has 2 faults, which errors lists", r.problem(t).Detail)
}

func TestBody_Framing(t *testing.T) {
	t.Parallel()
	f := setup(t)
	user := f.as(t, "u1")
	const note = `{"title":"a","count":1}`
	long := `{"title":"` + strings.Repeat("a", 5000) + `","count":1}`
	tests := map[string]struct {
		method, path, body string
		headers            []string
		status             int
		code               string
	}{
		"TooLarge":        {"POST", "/api/v1/notes", long, nil, 413, "body_too_large"},
		"NoType":          {"POST", "/api/v1/notes", note, []string{"Content-Type", ""}, 415, "media_type_unsupported"},
		"Charset":         {"POST", "/api/v1/notes", note, []string{"Content-Type", "", "Content-Type", "application/json; charset=UTF-8"}, 201, ""},
		"OtherCharset":    {"POST", "/api/v1/notes", note, []string{"Content-Type", "", "Content-Type", "application/json; charset=latin1"}, 415, "media_type_unsupported"},
		"Form":            {"POST", "/api/v1/notes", note, []string{"Content-Type", "", "Content-Type", "application/x-www-form-urlencoded"}, 415, "media_type_unsupported"},
		"BadType":         {"POST", "/api/v1/notes", note, []string{"Content-Type", "", "Content-Type", "/"}, 415, "media_type_unsupported"},
		"Gzip":            {"POST", "/api/v1/notes", note, []string{"Content-Encoding", "gzip"}, 415, "content_encoding_unsupported"},
		"BodyOnGet":       {"GET", "/api/v1/notes", note, nil, 400, "body_not_allowed"},
		"BodyNotAllowed":  {"POST", "/api/v1/sessions", note, nil, 400, "body_not_allowed"},
		"HugeNotAllowed":  {"POST", "/api/v1/sessions", long, nil, 400, "body_not_allowed"},
		"OptionalMissing": {"PATCH", "/api/v1/notes/" + noteID, "", []string{"If-Match", `"7"`}, 204, ""},
		"OptionalGiven":   {"PATCH", "/api/v1/notes/" + noteID, `{"title":"a"}`, []string{"If-Match", `"7"`}, 204, ""},
	}
	admin := f.as(t, "a1", "admin")
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			headers := append(user, tt.headers...)
			if tt.method == "PATCH" {
				headers = append(admin, tt.headers...)
			}
			r := f.do(t, tt.method, tt.path, tt.body, headers...)
			require.Equal(t, tt.status, r.status, r.body)
			if tt.code != "" {
				require.Equal(t, tt.code, r.problem(t).Code)
			}
		})
	}

	t.Run("TooLargeIsRefusedUnread", func(t *testing.T) {
		t.Parallel()
		conn, err := net.Dial("tcp", f.server.Listener.Addr().String())
		require.NoError(t, err)
		defer conn.Close()
		_, err = fmt.Fprintf(conn, "POST /api/v1/notes HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n%s: %s\r\nContent-Length: 99999999\r\n\r\n", user[0], user[1])
		require.NoError(t, err)
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		require.NoError(t, err)
		defer res.Body.Close()
		require.Equal(t, 413, res.StatusCode)
	})

	t.Run("TooLargeChunked", func(t *testing.T) {
		t.Parallel()
		req, err := http.NewRequestWithContext(t.Context(), "POST", f.server.URL+"/api/v1/notes", struct{ *strings.Reader }{strings.NewReader(long)})
		require.NoError(t, err)
		req.ContentLength = -1
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set(user[0], user[1])
		r := send(t, f.server.Client(), req)
		require.Equal(t, 413, r.status, r.body)
	})
}

func TestParams(t *testing.T) {
	t.Parallel()
	f := setup(t)
	tests := map[string]struct {
		path   string
		status int
		fields []string
		echo   string
	}{
		"Default":       {"/api/v1/notes", 200, nil, "limit=20"},
		"DefaultBeside": {"/api/v1/notes?q=a", 200, nil, "q=a&limit=20"},
		"Given":         {"/api/v1/notes?limit=5&done=true", 200, nil, "limit=5&done=true"},
		"Repeatable":    {"/api/v1/notes?tag=a&tag=b&limit=1", 200, nil, "tag=a&tag=b&limit=1"},
		"TooManyTags":   {"/api/v1/notes?tag=a&tag=b&tag=c&tag=d", 400, []string{"tag too_many"}, ""},
		"LongTag":       {"/api/v1/notes?tag=aaaaaa", 400, []string{"tag too_long"}, ""},
		"Unknown":       {"/api/v1/notes?limt=5", 400, []string{"limt unknown_parameter"}, ""},
		"OtherCase":     {"/api/v1/notes?Limit=5", 400, []string{"Limit unknown_parameter"}, ""},
		"Repeated":      {"/api/v1/notes?limit=5&limit=6", 400, []string{"limit repeated"}, ""},
		"NotANumber":    {"/api/v1/notes?limit=five", 400, []string{"limit type"}, ""},
		"Fraction":      {"/api/v1/notes?limit=1.5", 400, []string{"limit type"}, ""},
		"Overflow":      {"/api/v1/notes?limit=99999999999999999999", 400, []string{"limit type"}, ""},
		"Zero":          {"/api/v1/notes?limit=0", 400, []string{"limit too_small"}, ""},
		"TooMany":       {"/api/v1/notes?limit=101", 400, []string{"limit too_large"}, ""},
		"EmptyNumber":   {"/api/v1/notes?limit=", 400, []string{"limit empty"}, ""},
		"EmptyText":     {"/api/v1/notes?q=", 400, []string{"q too_short"}, ""},
		"Boolean":       {"/api/v1/notes?done=1", 400, []string{"done type"}, ""},
		"Several":       {"/api/v1/notes?limit=0&q=aaaaaaaaaaaaa", 400, []string{"limit too_small", "q too_long"}, ""},
		"BadUTF8":       {"/api/v1/notes?q=%ff", 400, []string{"q encoding"}, ""},
		"NUL":           {"/api/v1/notes?q=%00", 400, []string{"q encoding"}, ""},
		"BadEscape":     {"/api/v1/notes?q=%zz", 400, nil, ""},
		"Semicolon":     {"/api/v1/notes?q=a;limit=3", 400, nil, ""},
		"LongQuery":     {"/api/v1/notes?q=" + strings.Repeat("a", maxQueryLen), 400, nil, ""},
		"PathUUID":      {"/api/v1/notes/42", 400, []string{"note_id too_short", "note_id format"}, ""},
		"PathLetters":   {"/api/v1/notes/zzzzzzzz-9a41-7e10-b0c3-5f2d7c8e9a01", 400, []string{"note_id format"}, ""},
		"PathNUL":       {"/api/v1/notes/%00", 400, []string{"note_id encoding"}, ""},
		"PathBadUTF8":   {"/api/v1/notes/%ff", 400, []string{"note_id encoding"}, ""},
	}
	user := f.as(t, "u1")
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := f.do(t, "GET", tt.path, "", user...)
			require.Equal(t, tt.status, r.status, r.body)
			if tt.status == 200 {
				require.JSONEq(t, `{"value":"`+tt.echo+`"}`, r.body)
				return
			}
			if tt.fields != nil {
				require.Equal(t, tt.fields, r.problem(t).codes())
			}
		})
	}
}

func TestIfMatch(t *testing.T) {
	t.Parallel()
	f := setup(t)
	tests := map[string]struct {
		headers []string
		status  int
		code    string
	}{
		"Current":   {[]string{"If-Match", `"7"`}, 204, ""},
		"Stale":     {[]string{"If-Match", `"6"`}, 412, "stale"},
		"Missing":   {nil, 428, "if_match_missing"},
		"Star":      {[]string{"If-Match", "*"}, 400, "if_match_malformed"},
		"Weak":      {[]string{"If-Match", `W/"7"`}, 400, "if_match_malformed"},
		"Unquoted":  {[]string{"If-Match", "7"}, 400, "if_match_malformed"},
		"List":      {[]string{"If-Match", `"7", "8"`}, 400, "if_match_malformed"},
		"Repeated":  {[]string{"If-Match", `"7"`, "If-Match", `"7"`}, 400, "invalid"},
		"Overflow":  {[]string{"If-Match", `"9999999999999999999"`}, 400, "if_match_malformed"},
		"LeadZeros": {[]string{"If-Match", `"07"`}, 400, "if_match_malformed"},
	}
	admin := f.as(t, "a1", "admin")
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := f.do(t, "PATCH", "/api/v1/notes/"+noteID, "", append(admin, tt.headers...)...)
			require.Equal(t, tt.status, r.status, r.body)
			if tt.code != "" {
				require.Equal(t, tt.code, r.problem(t).Code)
			}
		})
	}
}

func TestIsUUID(t *testing.T) {
	t.Parallel()
	described := func() *openapi3.Schema {
		return openapi3.NewStringSchema().WithFormat("uuid").WithMinLength(36).WithMaxLength(36)
	}
	require.True(t, isUUID(described()))
	require.False(t, isUUID(described().WithMaxLength(40)), "left to kin-openapi")
	require.False(t, isUUID(described().WithPattern("^0")))
	require.False(t, isUUID(described().WithEnum("x")))
	require.False(t, isUUID(openapi3.NewStringSchema().WithMinLength(36).WithMaxLength(36)))
}
