package rest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/gin-gonic/gin"

	"cleave/platform/auth"
	"cleave/platform/fault"
)

const (
	maxExport     = 64 << 20 // bytes, which are in memory at once
	exportPage    = "100"    // items, the most that lists give
	personalParam = "user_id"
)

// personal is an operation that is marked x-personal-data.
type personal struct {
	module, id, method, path string
	query                    url.Values
}

// part is what one operation gave. Its status is 403 or 404 when it has nothing for the caller.
type part struct {
	Module    string            `json:"module"`
	Operation string            `json:"operation"`
	Status    int               `json:"status"`
	Pages     []json.RawMessage `json:"pages"`
}

// Personal answers with all that the modules keep of the caller. It asks each operation that is marked x-personal-data as the caller
// would, wherever its module runs, so that each module decides by itself what it gives; those that are a POST come first, and note the
// export. A parameter user_id is the caller. Lists are read to their end.
func (a *API) Personal(c *gin.Context) {
	p, ok := auth.From(c.Request.Context())
	if !ok {
		HandlerError(c, errNoToken)
		return
	}
	out := struct {
		ExportedAt time.Time `json:"exported_at"`
		Parts      []part    `json:"parts"`
	}{a.o.Now().UTC(), []part{}}
	size := 0
	for _, o := range a.personal() {
		got, err := a.ask(c, o, p.Subject, &size)
		if err != nil {
			HandlerError(c, err)
			return
		}
		if o.method == http.MethodGet {
			out.Parts = append(out.Parts, got)
		}
	}
	c.JSON(http.StatusOK, out)
}

// personal lists the operations: first those that note the export, then by module and id.
func (a *API) personal() (list []personal) {
	for _, module := range slices.Sorted(maps.Keys(a.documents)) {
		for path, item := range a.documents[module].Paths.Map() {
			for method, o := range item.Operations() {
				if marked, _ := o.Extensions["x-personal-data"].(bool); !marked {
					continue
				}
				one := personal{module: module, id: o.OperationID, method: method, path: path, query: url.Values{}}
				for _, ref := range slices.Concat(openapi3.Parameters(item.Parameters), o.Parameters) {
					switch q := ref.Value; {
					case q.In == openapi3.ParameterInQuery && q.Name == personalParam:
						one.query.Set(q.Name, "")
					case q.In == openapi3.ParameterInQuery && q.Name == "limit":
						one.query.Set(q.Name, exportPage)
					}
				}
				list = append(list, one)
			}
		}
	}
	slices.SortFunc(list, func(a, b personal) int {
		notes := strings.Compare(b.method, a.method) // POST before GET
		if notes != 0 {
			return notes
		}
		return strings.Compare(a.module+" "+a.id, b.module+" "+b.id)
	})
	return list
}

// ask reads all pages of an operation as the caller of c.
func (a *API) ask(c *gin.Context, o personal, subject string, size *int) (part, error) {
	got := part{Module: o.module, Operation: o.id, Pages: []json.RawMessage{}}
	query := maps.Clone(o.query)
	if query.Has(personalParam) {
		query.Set(personalParam, subject)
	}
	for {
		target := url.URL{Path: strings.ReplaceAll(o.path, "{"+personalParam+"}", subject), RawQuery: query.Encode()}
		r, err := http.NewRequestWithContext(c.Request.Context(), o.method, target.String(), http.NoBody)
		if err != nil {
			return got, fmt.Errorf("ask %s for a person's data: %w", o.id, err)
		}
		r.RequestURI, r.RemoteAddr, r.Host = target.String(), c.Request.RemoteAddr, c.Request.Host
		for _, name := range []string{"Authorization", headerRequestID, headerForwarded, "User-Agent"} {
			if v := c.Request.Header[name]; len(v) > 0 {
				r.Header[name] = v
			}
		}
		w := &recorded{header: http.Header{}, status: http.StatusOK}
		a.engine.ServeHTTP(w, r)
		got.Status = w.status
		switch {
		case w.status == http.StatusForbidden || w.status == http.StatusNotFound:
			return got, nil
		case w.status >= http.StatusMultipleChoices:
			return got, fault.New(fault.Unavailable, "export_incomplete", "%s answered with %d: try again", o.id, w.status)
		case w.body.Len() == 0:
			return got, nil
		}
		if *size += w.body.Len(); *size > maxExport {
			return got, fault.New(fault.Unprocessable, "export_too_large", "there is more than %d MiB: read the operations marked x-personal-data one by one", maxExport>>20)
		}
		got.Pages = append(got.Pages, json.RawMessage(w.body.Bytes()))
		var page struct {
			Next string `json:"next_cursor"`
		}
		if err := json.Unmarshal(w.body.Bytes(), &page); err != nil {
			return got, fmt.Errorf("read what %s answered: %w", o.id, err)
		}
		if page.Next == "" {
			return got, nil
		}
		query.Set("cursor", page.Next)
	}
}

// recorded takes the answer to a request of this process to itself.
type recorded struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *recorded) Header() http.Header         { return r.header }
func (r *recorded) WriteHeader(status int)      { r.status = status }
func (r *recorded) Write(b []byte) (int, error) { return r.body.Write(b) }
func (r *recorded) Flush()                      {}
