package skew_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// operation is one of a released document.
type operation struct {
	*routers.Route
	id string
}

// releasedOperations are those of a module, ordered by id. Their schemas let
// answers have fields more, as clients do.
func releasedOperations(t testing.TB, name string) []operation {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(release, "openapi", name+".yaml"))
	require.NoError(t, err)
	doc, err := openapi3.NewLoader().LoadFromData(b)
	require.NoError(t, err)
	for _, s := range doc.Components.Schemas {
		s.Value.AdditionalProperties = openapi3.AdditionalProperties{}
	}
	return operationsOf(doc)
}

func operationsOf(doc *openapi3.T) []operation {
	var all []operation
	for path, item := range doc.Paths.Map() {
		for method, o := range item.Operations() {
			all = append(all, operation{&routers.Route{Spec: doc, Path: path, PathItem: item, Method: method, Operation: o}, o.OperationID})
		}
	}
	slices.SortFunc(all, func(a, b operation) int { return strings.Compare(a.id, b.id) })
	return all
}

// client is one that was built from the released documents.
type client struct {
	base, token string
	ids         map[string]string // of what it has made, by the name of parameter or field
}

// makes are the operations that make something, in the order in which one needs
// the other, and what their answers' ids are called elsewhere.
var makes = []struct{ id, name string }{
	{"registerUser", "user_id"}, {"createProduct", "product_id"}, {"adjustStock", ""}, {"placeOrder", "order_id"},
}

// sequence orders operations: those that others need come first, the one that
// ends the session last.
func sequence(operations []operation) {
	rank := func(o operation) int {
		for i, m := range makes {
			if m.id == o.id {
				return i
			}
		}
		if o.id == "logOut" {
			return len(makes) + 1
		}
		return len(makes)
	}
	slices.SortStableFunc(operations, func(a, b operation) int { return rank(a) - rank(b) })
}

// request is the operation as the released document shows it by its examples,
// about what the client has made.
func (c client) request(ctx context.Context, o operation) (*http.Request, error) {
	var body io.Reader
	if o.Operation.RequestBody != nil {
		example := exampleOf(o.Operation.RequestBody.Value.Content["application/json"])
		if example == nil {
			return nil, fmt.Errorf("the request of %s has no example", o.id)
		}
		b, err := json.Marshal(c.about(example))
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(b)
	}
	path, query := o.Path, url.Values{}
	header := http.Header{}
	for _, ref := range slices.Concat(o.Operation.Parameters, o.PathItem.Parameters) {
		p := ref.Value
		example := p.Example
		if example == nil {
			example = p.Schema.Value.Example
		}
		switch {
		case p.Name == "cursor": // means something only to the server that gave it
		case p.Name == "Idempotency-Key":
			header.Set(p.Name, uuid.NewString())
		case example == nil && p.Required:
			return nil, fmt.Errorf("the parameter %s of %s has no example", p.Name, o.id)
		case example == nil:
		case p.In == openapi3.ParameterInPath:
			if id := c.ids[p.Name]; id != "" {
				example = id
			}
			path = strings.ReplaceAll(path, "{"+p.Name+"}", url.PathEscape(fmt.Sprint(example)))
		case p.In == openapi3.ParameterInQuery:
			query.Set(p.Name, fmt.Sprint(example))
		case p.In == openapi3.ParameterInHeader:
			header.Set(p.Name, fmt.Sprint(example))
		}
	}
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	r, err := http.NewRequestWithContext(ctx, o.Method, c.base+path, body)
	if err != nil {
		return nil, err
	}
	r.Header = header
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	return r, nil
}

// about puts the ids of what the client has made into a copy of an example.
func (c client) about(example any) any {
	switch v := example.(type) {
	case map[string]any:
		out := maps.Clone(v)
		for k, x := range out {
			out[k] = c.about(x)
			if id := c.ids[k]; id != "" {
				out[k] = id
			}
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, x := range v {
			out[i] = c.about(x)
		}
		return out
	}
	return example
}

func exampleOf(m *openapi3.MediaType) any {
	if m == nil {
		return nil
	}
	if m.Example != nil {
		return m.Example
	}
	return m.Schema.Value.Example
}

// refusals are the codes of fields with which today's validation refuses what
// it does not know; business rules have codes of their own.
var refusals = []string{"required", "type", "unknown_field", "unknown_parameter"}

// skew sends the request and returns in which way the answer is not one that a
// released client can expect.
func (c client) skew(ctx context.Context, o operation) []string {
	at := fmt.Sprintf("%s (%s %s)", o.id, o.Method, o.Path)
	r, err := c.request(ctx, o)
	if err != nil {
		return []string{err.Error()}
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return []string{fmt.Sprintf("%s: %v", at, err)}
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode == http.StatusOK && o.streams() {
		if !strings.HasPrefix(answer.Header.Get("Content-Type"), "text/event-stream") {
			return []string{at + " is no stream any longer"}
		}
		return nil
	}
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return []string{fmt.Sprintf("%s: %v", at, err)}
	}
	for _, m := range makes {
		var made struct{ ID string }
		if m.id == o.id && m.name != "" && answer.StatusCode == http.StatusCreated && json.Unmarshal(body, &made) == nil {
			c.ids[m.name] = made.ID
		}
	}
	return o.answerSkew(ctx, at, r, answer.StatusCode, answer.Header, body)
}

func (o operation) streams() bool {
	ok := o.Operation.Responses.Status(http.StatusOK)
	return ok != nil && ok.Value.Content["text/event-stream"] != nil
}

func (o operation) answerSkew(ctx context.Context, at string, r *http.Request, status int, header http.Header, body []byte) []string {
	var problem struct {
		Code   string
		Errors []struct{ Field, Code string }
	}
	if status >= http.StatusBadRequest {
		if err := json.Unmarshal(body, &problem); err != nil {
			return []string{fmt.Sprintf("%s: %d without a problem: %v", at, status, err)}
		}
	}
	var found []string
	switch status {
	case http.StatusMethodNotAllowed, http.StatusUnsupportedMediaType, http.StatusInternalServerError, http.StatusBadRequest:
		found = append(found, fmt.Sprintf("%s: %d %s", at, status, body))
	case http.StatusNotFound:
		if problem.Code == "no_such_resource" {
			found = append(found, at+" is gone")
		}
	}
	for _, f := range problem.Errors {
		if slices.Contains(refusals, f.Code) {
			found = append(found, fmt.Sprintf("%s: %s %s", at, f.Field, f.Code))
		}
	}
	options := &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true}
	input := (&openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: r, Route: o.Route, Options: options},
		Status:                 status, Header: header, Options: options,
	}).SetBodyBytes(body)
	if err := openapi3filter.ValidateResponse(ctx, input); err != nil {
		found = append(found, fmt.Sprintf("%s: %d is not as released: %v", at, status, err))
	}
	return found
}

// documentSkew holds the released examples against today's document, without a
// server: each operation must exist and take its released request.
func documentSkew(released []operation, now *openapi3.T) (found []string) {
	today := map[string]operation{}
	for _, o := range operationsOf(now) {
		today[o.Method+" "+o.Path] = o
	}
	for _, o := range released {
		n, ok := today[o.Method+" "+o.Path]
		if !ok {
			found = append(found, o.id+" is gone")
			continue
		}
		had := map[string]bool{}
		for _, p := range slices.Concat(o.Operation.Parameters, o.PathItem.Parameters) {
			had[p.Value.In+" "+p.Value.Name] = true
		}
		for _, p := range slices.Concat(n.Operation.Parameters, n.PathItem.Parameters) {
			if p.Value.Required && !had[p.Value.In+" "+p.Value.Name] {
				found = append(found, fmt.Sprintf("%s now requires the parameter %s", o.id, p.Value.Name))
			}
		}
		found = append(found, bodySkew(o, n)...)
	}
	return found
}

func bodySkew(o, n operation) []string {
	switch {
	case n.Operation.RequestBody == nil && o.Operation.RequestBody == nil:
		return nil
	case n.Operation.RequestBody == nil:
		return []string{o.id + " takes no body any longer"}
	case o.Operation.RequestBody == nil:
		if n.Operation.RequestBody.Value.Required {
			return []string{o.id + " now requires a body"}
		}
		return nil
	}
	media := n.Operation.RequestBody.Value.Content["application/json"]
	example := exampleOf(o.Operation.RequestBody.Value.Content["application/json"])
	if media == nil || example == nil {
		return []string{o.id + " has no JSON body or no example of it"}
	}
	if err := media.Schema.Value.VisitJSON(example, openapi3.MultiErrors(), openapi3.VisitAsRequest()); err != nil {
		return []string{fmt.Sprintf("%s refuses its released request: %v", o.id, err)}
	}
	return nil
}

func TestDocuments(t *testing.T) {
	t.Parallel()
	for _, name := range releasedModules(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			now, err := openapi3.NewLoader().LoadFromData(specOf(t, name).OpenAPI)
			require.NoError(t, err)
			require.Empty(t, documentSkew(releasedOperations(t, name), now))
		})
	}
}

func TestDocuments_Planted(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ before, after, want string }{
		"Nothing":           {"", "", ""},
		"OperationMoved":    {"  /api/v1/users/first-admin:", "  /api/v1/users/first:", "createFirstAdmin is gone"},
		"RequiredField":     {"required: [email, password, display_name]", "required: [email, password, display_name, disabled]", "registerUser refuses its released request"},
		"RequiredParameter": {"        - name: q\n          in: query\n          required: false", "        - name: text\n          in: query\n          required: true", "listUsers now requires the parameter text"},
		"Tighter":           {"      maxLength: 254\n      pattern: '^[^@", "      maxLength: 5\n      pattern: '^[^@", "refuses its released request"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, err := os.ReadFile(filepath.Join(release, "openapi", "user.yaml"))
			require.NoError(t, err)
			planted := strings.Replace(string(b), c.before, c.after, 1)
			require.Equal(t, name == "Nothing", planted == string(b))
			now, err := openapi3.NewLoader().LoadFromData([]byte(planted))
			require.NoError(t, err)
			found := strings.Join(documentSkew(releasedOperations(t, "user"), now), "\n")
			if c.want == "" {
				require.Empty(t, found)
			} else {
				require.Contains(t, found, c.want)
			}
		})
	}
}

// TestAnswers_Planted gives a released client answers that it cannot read.
func TestAnswers_Planted(t *testing.T) {
	t.Parallel()
	operations := releasedOperations(t, "user")
	o := operations[slices.IndexFunc(operations, func(o operation) bool { return o.id == "getProfile" })]
	r, err := client{base: "http://127.0.0.1"}.request(t.Context(), o)
	require.NoError(t, err)
	user := func(change func(map[string]any)) []byte {
		b, err := json.Marshal(o.Route.Spec.Components.Schemas["User"].Value.Example)
		require.NoError(t, err)
		m := map[string]any{}
		require.NoError(t, json.Unmarshal(b, &m))
		change(m)
		b, err = json.Marshal(m)
		require.NoError(t, err)
		return b
	}
	header := http.Header{"Content-Type": {"application/json"}, "Etag": {`"1"`}}
	for name, c := range map[string]struct {
		status int
		body   []byte
		good   bool
	}{
		"AsReleased": {http.StatusOK, user(func(map[string]any) {}), true},
		"MoreFields": {http.StatusOK, user(func(m map[string]any) { m["phone"] = "+44" }), true},
		"FieldGone":  {http.StatusOK, user(func(m map[string]any) { delete(m, "email") }), false},
		"OtherType":  {http.StatusOK, user(func(m map[string]any) { m["version"] = "one" }), false},
		"NewStatus":  {http.StatusAccepted, user(func(map[string]any) {}), false},
		"NoProblem":  {http.StatusForbidden, []byte("no"), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			found := o.answerSkew(t.Context(), o.id, r, c.status, maps.Clone(header), c.body)
			require.Equal(t, c.good, len(found) == 0, "%v", found)
		})
	}
}
