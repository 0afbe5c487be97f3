package chaos_test

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/google/uuid"

	noterest "cleave/modules/notification/v1/rest"
	orderrest "cleave/modules/order/v1/rest"
	userrest "cleave/modules/user/v1/rest"
)

const password = "correct horse battery staple"

// api is one process as the generated clients see it.
type api struct {
	users  *userrest.ClientWithResponses
	orders *orderrest.ClientWithResponses
	notes  *noterest.ClientWithResponses
}

// client is a person at the API who never gives up: an answer that is lost, or
// that says try again, makes them ask again with the same key, at the next
// process if there are several. It serves one goroutine.
type client struct {
	shop  *shop
	id    uuid.UUID
	email string
	token string
	apis  []api
	at    int // the process that the client talks to
	rand  *rand.Rand
}

func (s *shop) newClient(name, email string) (*client, error) {
	c := &client{shop: s, email: email, rand: stream(options.seed, s.name+" "+name)}
	transport := &http.Transport{MaxIdleConnsPerHost: 4}
	s.idle = append(s.idle, transport.CloseIdleConnections)
	// Shorter than the server's own limit, so that an answer is lost also when
	// the network swallows it.
	h := &http.Client{Transport: transport, Timeout: 4 * time.Second}
	for _, addr := range s.fronts {
		var a api
		var err error
		url := "http://" + addr
		if a.users, err = userrest.NewClientWithResponses(url, userrest.WithHTTPClient(h), userrest.WithRequestEditorFn(c.authorise)); err != nil {
			return nil, err
		}
		if a.orders, err = orderrest.NewClientWithResponses(url, orderrest.WithHTTPClient(h), orderrest.WithRequestEditorFn(c.authorise)); err != nil {
			return nil, err
		}
		if a.notes, err = noterest.NewClientWithResponses(url, noterest.WithHTTPClient(h), noterest.WithRequestEditorFn(c.authorise)); err != nil {
			return nil, err
		}
		c.apis = append(c.apis, a)
	}
	return c, nil
}

func (c *client) authorise(_ context.Context, r *http.Request) error {
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	return nil
}

// response is what the generated responses have in common.
type response interface {
	StatusCode() int
	GetBody() []byte
}

// reply is a definite answer: the server has done it or never will.
type reply struct {
	status int
	code   string // of the problem; "" without one
	body   []byte
}

func (r reply) ok() bool { return r.status < http.StatusBadRequest }

// ask calls until there is a definite answer. When there is none for too long,
// that is a finding, and the status is 0.
func ask[R response](c *client, what string, call func(ctx context.Context, a api) (R, error)) reply {
	var last string
	pause := 5 * time.Millisecond
	for began := time.Now(); time.Since(began) < patience; {
		r, err := call(context.Background(), c.apis[c.at])
		if err == nil {
			a := reply{status: r.StatusCode(), body: r.GetBody()}
			if !a.ok() {
				var p userrest.Problem
				_ = json.Unmarshal(a.body, &p) // what is no problem has no code
				a.code = p.Code
			}
			if !c.again(a) {
				c.shop.answered()
				return a
			}
			last = string(a.body)
		} else {
			last = err.Error()
		}
		if c.shop.over() {
			return reply{}
		}
		c.at = (c.at + 1) % len(c.apis)
		time.Sleep(pause)
		pause = min(2*pause, 100*time.Millisecond)
	}
	c.shop.findings.add("%s gets no answer to: %s; the last one: %s", c.email, what, last)
	return reply{}
}

// again reports whether the same request may have another answer later.
func (c *client) again(a reply) bool {
	switch {
	case a.status >= http.StatusInternalServerError, a.status == http.StatusTooManyRequests, a.code == "idempotency_key_in_flight":
		return true
	case a.status == http.StatusUnauthorized && a.code != "credentials_invalid":
		c.logIn()
		return true
	}
	return false
}

// logIn gets a new token; one who is disabled keeps the old one.
func (c *client) logIn() {
	token := c.token
	c.token = ""
	r, err := c.apis[c.at].users.LogInWithResponse(context.Background(), nil, userrest.LogIn{Email: c.email, Password: password})
	if err != nil || r.JSON201 == nil {
		c.token = token
		return
	}
	c.id, c.token = r.JSON201.UserID, r.JSON201.AccessToken
}

func decode[T any](b []byte) (v T, err error) {
	err = json.Unmarshal(b, &v)
	return v, err
}

func ptr[T any](v T) *T { return &v }
