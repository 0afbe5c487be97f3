package topology_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/stretchr/testify/require"
)

// httpClient asks every door, a connection each time it needs one.
var httpClient = &http.Client{
	Timeout:       patience,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// door is where a script enters.
type door struct {
	url    string
	client *http.Client
}

type answer struct {
	status int
	header http.Header
	body   string
	packed bool // it came compressed
}

// send makes a request; headers are pairs. A header "Chunked" sends a body of
// unknown length, and one with an empty value is left out.
func (d *door) send(method, path, token, body string, headers ...string) (answer, error) {
	r, err := http.NewRequestWithContext(context.Background(), method, d.url+path, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(headers); i += 2 {
		switch name, value := headers[i], headers[i+1]; {
		case name == "Chunked":
			r.ContentLength = -1
		case name == "Host":
			r.Host = value
		case value == "":
			r.Header.Del(name)
		case name == "Content-Type":
			r.Header.Set(name, value)
		default:
			r.Header.Add(name, value)
		}
	}
	resp, err := d.client.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(b), resp.Uncompressed}, err
}

// framing are the headers that say how an answer was sent, not what it says: Date, and whether the length was known before.
var framing = []string{"Date", "Content-Length"}

// text is the answer as it is recorded.
func (a answer) text() string {
	var b strings.Builder
	fmt.Fprintln(&b, a.status)
	var names []string
	for name := range a.header {
		if !slices.Contains(framing, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		fmt.Fprintf(&b, "%s: %s\n", name, strings.Join(a.header[name], " | "))
	}
	b.WriteByte('\n')
	var pretty bytes.Buffer
	if json.Indent(&pretty, []byte(a.body), "", " ") == nil {
		b.Write(pretty.Bytes())
	} else {
		b.WriteString(a.body)
	}
	return b.String()
}

// json is a value of the answer, by the names on its way.
func (a answer) json(t require.TestingT, path ...string) string {
	var v any
	require.NoError(t, json.Unmarshal([]byte(a.body), &v), "%d %s", a.status, a.body)
	for _, name := range path {
		m, ok := v.(map[string]any)
		require.True(t, ok, "no %v in %d %s", path, a.status, a.body)
		v = m[name]
	}
	s, ok := v.(string)
	require.True(t, ok, "no text %v in %d %s", path, a.status, a.body)
	return s
}

// claims is what an access token says.
func claims(token string) string {
	var b strings.Builder
	for _, p := range strings.SplitN(token, ".", 3)[:2] {
		text, err := base64.RawURLEncoding.DecodeString(p)
		fmt.Fprintln(&b, string(text), err)
	}
	return b.String()
}
