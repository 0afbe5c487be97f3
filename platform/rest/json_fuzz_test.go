package rest

import (
	"encoding/json"
	"reflect"
	"testing"
	"unicode/utf8"
)

// What is read as a body is JSON to others too, with the same value.
func FuzzBody(f *testing.F) {
	for _, seed := range []string{
		`{"title":"a","count":1}`, `{"a":{"b":[1,2.5e3,-0,null,true]}}`, `"\u00e9\ud83d\ude00"`, `{"a":1,"a":2}`, `[[[[[[]]]]]]`, `1e400`, "{\"a\":\"\x00\"}", `{`,
		`{"n":9007199254740993}`, "\xef\xbb\xbf{}", `{} {}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		value, err := parseJSON(body)
		if err != nil {
			return
		}
		if !utf8.Valid(body) || !json.Valid(body) {
			t.Fatalf("read %q, which is not JSON", body)
		}
		text, err := json.Marshal(value)
		if err != nil {
			t.Fatalf("%q gave a value that has no JSON: %v", body, err)
		}
		again, err := parseJSON(text)
		if err != nil || !reflect.DeepEqual(value, again) {
			t.Fatalf("%q is %#v, but written and read again %#v (%v)", body, value, again, err)
		}
	})
}
