package rest

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/routers"
	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/require"

	"cleave/platform/auth"
)

func TestModule_RefusesWhatDoesNotMatch(t *testing.T) {
	t.Parallel()
	edit := func(old, new string) func(string) string {
		return func(doc string) string {
			if strings.Contains(doc, old) {
				return strings.Replace(doc, old, new, 1)
			}
			return "the test's edit does not apply: " + old
		}
	}
	handler := func(*gin.Context) {}
	tests := map[string]struct {
		edit  func(string) string
		route func(gin.IRouter)
		want  []string
	}{
		"RouteWithoutOperation": {nil, func(r gin.IRouter) { r.GET("/api/v1/secrets", handler) }, []string{"the route GET /api/v1/secrets has no operation"}},
		"OperationWithoutRoute": {edit("/api/v1/sessions:", "/api/v1/logins:"), nil, []string{"the operation logIn has no route: POST /api/v1/logins", "the route POST /api/v1/sessions has no operation"}},
		"RouteTwice":            {nil, func(r gin.IRouter) { r.GET("/api/v1/notes", handler) }, []string{"register the routes"}},
		"NoPermission":          {edit("      x-permission: notes:create\n", ""), nil, []string{"operation createNote (POST /api/v1/notes): x-permission is missing"}},
		"UnknownPermission":     {edit("x-permission: notes:create", "x-permission: notes:fly"), nil, []string{`no policy grants the permission "notes:fly"`}},
		"PublicWithSecurity":    {edit("x-permission: notes:create\n      x-owner: self", "x-permission: public\n      x-owner: none"), nil, []string{"operation createNote (POST /api/v1/notes): x-permission is public if and only if security is []"}},
		"SecurityNotPublic":     {edit("x-permission: public", "x-permission: notes:read"), nil, []string{"operation logIn (POST /api/v1/sessions): x-permission is public if"}},
		"NoOwner":               {edit("      x-owner: self\n", ""), nil, []string{`x-owner "" is none of`}},
		"UnknownOwner":          {edit("x-owner: self", "x-owner: everyone"), nil, []string{`x-owner "everyone" is none of`}},
		"OwnerNotInPath":        {edit("x-owner: path:user_id", "x-owner: path:user"), nil, []string{`x-owner "path:user" is none of`}},
		"PublicWithOwner":       {edit("x-permission: public\n      x-owner: none", "x-permission: public\n      x-owner: self"), nil, []string{"x-owner of a public operation must be none"}},
		"PostWithoutKey":        {edit("      parameters: [{ $ref: '#/components/parameters/IdempotencyKey' }]\n", ""), nil, []string{"a POST must have the parameter Idempotency-Key"}},
		"OpenObject":            {edit("additionalProperties: false\n      required: [title, count]", "required: [title, count]"), nil, []string{"request body: an object needs additionalProperties: false"}},
		"UnboundedString":       {edit("minLength: 1, maxLength: 20, pattern", "minLength: 1, pattern"), nil, []string{"request body/title: a string needs maxLength or enum"}},
		"UnboundedArray":        {edit("tags: { type: array, maxItems: 3,", "tags: { type: array,"), nil, []string{"request body/tags: an array needs maxItems"}},
		"UnboundedInteger":      {edit("maximum: 9007199254740991", "maximum: 9223372036854775807"), nil, []string{"request body/price: an integer needs minimum and maximum within ±9007199254740991"}},
		"UnboundedParameter":    {edit("maximum: 100, default: 20", "default: 20"), nil, []string{"parameter limit: an integer needs"}},
		"FormBody":              {edit("content: { application/json: { schema: { $ref: '#/components/schemas/NewNote' } } }", "content: { text/plain: { schema: { type: string } } }"), nil, []string{"the request body must be application/json"}},
		"AnswerMissing":         {edit("        '409': { $ref: '#/components/responses/Problem' }\n", ""), nil, []string{"operation createNote (POST /api/v1/notes): the answer 409 with application/problem+json is not described"}},
		"Version31":             {edit("openapi: 3.0.3", "openapi: 3.1.0"), nil, []string{"only 3.0"}},
		"NotADocument":          {func(string) string { return "{" }, nil, []string{"module notes: read the OpenAPI document"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			policy, err := auth.NewPolicy(map[string]string{"notes": notesPolicy})
			require.NoError(t, err)
			api := New(Options{Verifier: noVerifier, Policy: policy, Log: slog.New(slog.DiscardHandler)})
			doc := string(notesDocument)
			if tt.edit != nil {
				doc = tt.edit(doc)
			}
			err = api.Module("notes", []byte(doc), nil, func(r gin.IRouter) {
				(&notes{}).register(r)
				if tt.route != nil {
					tt.route(r)
				}
			})
			require.Error(t, err)
			for _, want := range tt.want {
				require.ErrorContains(t, err, want)
			}
		})
	}
}

func TestModule_ListsEveryFault(t *testing.T) {
	t.Parallel()
	policy, err := auth.NewPolicy(nil)
	require.NoError(t, err)
	api := New(Options{Verifier: noVerifier, Policy: policy, Log: slog.New(slog.DiscardHandler)})
	err = api.Module("notes", notesDocument, nil, func(gin.IRouter) {})
	require.ErrorContains(t, err, "the REST API of module notes:")
	require.Equal(t, 6, strings.Count(err.Error(), "no policy grants"))
	require.Equal(t, 8, strings.Count(err.Error(), "has no route"))
}

func TestModule_TwoModules(t *testing.T) {
	t.Parallel()
	f := setup(t)
	doc := strings.NewReplacer("/api/v1/", "/api/v2/", "title: Notes", "title: Others").Replace(string(notesDocument))
	err := f.api.Module("others", []byte(doc), nil, func(r gin.IRouter) { f.notes.register(prefixed{r}) })
	require.NoError(t, err)
	require.Equal(t, 200, f.do(t, "GET", "/api/v2/notes", "", f.as(t, "u1")...).status)
	require.Equal(t, 200, f.do(t, "GET", "/api/v1/notes", "", f.as(t, "u1")...).status)
	require.Equal(t, 401, f.do(t, "GET", "/api/v2/notes", "").status)

	err = f.api.Module("again", notesDocument, nil, f.notes.register)
	require.ErrorContains(t, err, "register the routes")
}

// prefixed registers the routes of version 1 as version 2.
type prefixed struct{ gin.IRouter }

func (p prefixed) path(s string) string { return strings.Replace(s, "/v1/", "/v2/", 1) }

func (p prefixed) GET(path string, h ...gin.HandlerFunc) gin.IRoutes {
	return p.Handle(http.MethodGet, p.path(path), h...)
}

func (p prefixed) POST(path string, h ...gin.HandlerFunc) gin.IRoutes {
	return p.Handle(http.MethodPost, p.path(path), h...)
}

func (p prefixed) PATCH(path string, h ...gin.HandlerFunc) gin.IRoutes {
	return p.Handle(http.MethodPatch, p.path(path), h...)
}

func TestModule_RoutesTakeNoMiddleware(t *testing.T) {
	t.Parallel()
	f := setup(t)
	doc := strings.ReplaceAll(string(notesDocument), "/api/v1/", "/api/v2/")
	require.NoError(t, f.api.Module("others", []byte(doc), nil, func(r gin.IRouter) {
		f.notes.register(prefixed{r.Group("", func(*gin.Context) {})})
	}))
	require.Equal(t, 500, f.do(t, "GET", "/api/v2/notes", "", f.as(t, "u1")...).status)
	require.Contains(t, f.log.String(), "has middleware of its own")
}

// gin gives its contexts to later requests; drivers and goroutines that still hold one would see
// another request's user and transaction.
func TestModule_ContextIsTheRequestsOwn(t *testing.T) {
	t.Parallel()
	f := setup(t)
	var kept []*gin.Context
	defer f.notes.meanwhile(func(c *gin.Context) error { kept = append(kept, c); return nil })()
	for _, user := range []string{"u1", "u2", "u3"} {
		require.Equal(t, 201, f.do(t, "POST", "/api/v1/notes", note, f.as(t, user)...).status)
	}
	for i, user := range []string{"u1", "u2", "u3"} {
		p, ok := auth.From(kept[i])
		require.True(t, ok)
		require.Equal(t, user, p.Subject)
	}
}

func TestCheckResponse_BodyWhereNoneIsDescribed(t *testing.T) {
	t.Parallel()
	doc, err := loadDocument(notesDocument)
	require.NoError(t, err)
	item := doc.Paths.Value("/api/v1/notes/{note_id}")
	op := &operation{route: &routers.Route{Spec: doc, PathItem: item, Operation: item.Patch}}
	c, _ := gin.CreateTestContext(httptest.NewRecorder())
	c.Request = httptest.NewRequest("PATCH", "/", nil)
	b := newBuffer(nil)
	b.status = http.StatusNoContent
	require.NoError(t, checkResponse(c, op, b))
	_, err = b.WriteString("x")
	require.NoError(t, err)
	require.Error(t, checkResponse(c, op, b))
}
