package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/google/uuid"

	orderrest "cleave/modules/order/v1/rest"
	userrest "cleave/modules/user/v1/rest"
	"cleave/platform/fault"
)

// maxConns bounds the connections to the server; more requests wait for one.
const maxConns = 256

// api is the server as anyone reaches it.
type api struct {
	users  *userrest.ClientWithResponses
	orders *orderrest.ClientWithResponses
}

// newAPI fails on a malformed URL and when the server there does not answer.
func newAPI(ctx context.Context, url string) (*api, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxConnsPerHost, transport.MaxIdleConnsPerHost = maxConns, maxConns
	client := &http.Client{Transport: transport, Timeout: 30 * time.Second}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/livez", nil)
	if err != nil {
		return nil, fault.New(fault.Invalid, "option_invalid", "--url is %q, allowed: an address such as http://127.0.0.1:8080", url)
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "server_unreachable", "no server answers at %s; start one with app serve", url).Wrap(err)
	}
	_ = resp.Body.Close()
	doer := retrying{client}
	users, err := userrest.NewClientWithResponses(url, userrest.WithHTTPClient(doer))
	if err != nil {
		return nil, err
	}
	orders, err := orderrest.NewClientWithResponses(url, orderrest.WithHTTPClient(doer))
	return &api{users: users, orders: orders}, err
}

// newKey is an Idempotency-Key for one thing to be done.
func newKey() *string {
	key := uuid.NewString()
	return &key
}

// answer is what the generated responses have in common.
type answer interface {
	Status() string
	StatusCode() int
	GetBody() []byte
}

func problemOf(body []byte) (p userrest.Problem) {
	_ = json.Unmarshal(body, &p) // what is no problem has no code
	return p
}

// refusal is the fault for an answer that is not the one hoped for, or for none.
func refusal(what string, a answer, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	p := problemOf(a.GetBody())
	if p.Code == "" {
		return fmt.Errorf("%s: the server answered %s", what, a.Status())
	}
	message := p.Title
	if p.Detail != nil {
		message = *p.Detail
	}
	return fault.New(fault.Conflict, p.Code, "%s: %d %s: %s", what, a.StatusCode(), p.Code, message)
}

// session is a user who is logged in, and stays so.
type session struct {
	id  uuid.UUID
	api *api

	mu              sync.Mutex
	access, refresh string
	renewAt         time.Time
}

func (a *api) logIn(ctx context.Context, email, password string) (*session, error) {
	resp, err := a.users.LogInWithResponse(ctx, &userrest.LogInParams{IdempotencyKey: newKey()}, userrest.LogIn{Email: email, Password: password})
	if err != nil || resp.JSON201 == nil {
		return nil, refusal("log in as "+email, resp, err)
	}
	s := &session{id: resp.JSON201.UserID, api: a}
	s.keep(resp.JSON201)
	return s, nil
}

// keep takes over a pair of tokens, to be renewed in good time.
func (s *session) keep(t *userrest.TokenPair) {
	s.access, s.refresh = t.AccessToken, t.RefreshToken
	s.renewAt = time.Now().Add(time.Duration(t.ExpiresIn) * time.Second * 3 / 4)
}

// authorise adds the access token to a request, as the generated clients'
// RequestEditorFn.
func (s *session) authorise(ctx context.Context, req *http.Request) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Now().After(s.renewAt) {
		resp, err := s.api.users.RefreshSessionWithResponse(ctx, &userrest.RefreshSessionParams{IdempotencyKey: newKey()}, userrest.RefreshSession{RefreshToken: s.refresh})
		if err != nil || resp.JSON200 == nil {
			return refusal("renew a session", resp, err)
		}
		s.keep(resp.JSON200)
	}
	req.Header.Set("Authorization", "Bearer "+s.access)
	return nil
}
