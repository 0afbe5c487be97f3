package topology_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/stretchr/testify/require"
)

// stream is a stream of events under way.
type stream struct {
	head   answer
	events chan string
	close  context.CancelFunc
}

// follow opens the notifications of a user as a stream.
func (s *script) follow(u *user, headers ...string) *stream {
	ctx, cancel := context.WithCancel(context.Background())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.door.url+"/api/v1/notifications/stream", nil)
	require.NoError(s.t, err)
	r.Header.Set("Authorization", "Bearer "+u.token)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	client := &http.Client{Transport: &http.Transport{ResponseHeaderTimeout: patience / 4, DisableKeepAlives: true}}
	resp, err := client.Do(r)
	require.NoError(s.t, err)
	f := &stream{head: answer{status: resp.StatusCode, header: resp.Header}, events: make(chan string, 100), close: cancel}
	go func() {
		defer resp.Body.Close()
		defer close(f.events)
		event := ""
		for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
			switch line := lines.Text(); {
			case strings.HasPrefix(line, ":"): // a sign of life
			case line != "":
				event += line + "\n"
			case event != "":
				f.events <- event
				event = ""
			}
		}
	}()
	return f
}

// next returns one event of the stream, which must come while the stream stays open.
func (s *script) next(f *stream) string {
	select {
	case e, ok := <-f.events:
		require.True(s.t, ok, "the stream has ended: %d", f.head.status)
		return e
	case <-time.After(patience / 4):
		require.Fail(s.t, "nothing comes through the stream")
	}
	return ""
}

// notifications follows them live, resumes, and marks them as read.
func (s *script) notifications() {
	f := s.follow(s.buyer)
	s.note("the stream", f.head)
	o := s.place(s.buyer, s.lamp, 1)
	first := s.next(f)
	s.rec.add("its first event", first)
	f.close()
	s.becomes(s.buyer, o, "confirmed")
	s.do(s.admin, http.MethodPost, "/api/v1/orders/"+o+"/ship", "")
	s.becomes(s.buyer, o, "shipped")
	s.until(s.buyer, "/api/v1/users/"+s.buyer.id+"/credit", has(`"captured":3897`))
	id, _, _ := strings.Cut(strings.TrimPrefix(first[strings.Index(first, "id:"):], "id:"), "\n")
	id = strings.TrimSpace(id)
	f = s.follow(s.buyer, "Last-Event-ID", id)
	s.rec.add("the event after it", s.next(f))
	o = s.place(s.buyer, s.lamp, 1)
	s.rec.add("and the one that comes live", s.next(f))
	f.close()
	s.becomes(s.buyer, o, "confirmed")
	for _, last := range []string{"nonsense", "00000000-0000-4000-8000-000000000000"} {
		s.do(s.buyer, http.MethodGet, "/api/v1/notifications/stream?colour=red", "", "Last-Event-ID", last)
	}
	s.do(nil, http.MethodGet, "/api/v1/notifications/stream", "")

	s.do(s.buyer, http.MethodGet, "/api/v1/notifications/unread-count", "")
	s.do(s.buyer, http.MethodPost, "/api/v1/notifications/"+id+"/read", "")
	s.do(s.other, http.MethodPost, "/api/v1/notifications/"+id+"/read", "")
	s.do(s.buyer, http.MethodPost, "/api/v1/notifications/read-all", "", "Idempotency-Key", "read")
	s.do(s.buyer, http.MethodPost, "/api/v1/notifications/read-all", "", "Idempotency-Key", "read")
	s.do(s.buyer, http.MethodGet, "/api/v1/notifications?unread=true", "")
	p := s.do(s.buyer, http.MethodGet, "/api/v1/notification-preferences", "")
	s.do(s.buyer, http.MethodPut, "/api/v1/notification-preferences", `{"preferences":[{"kind":"shipped","channel":"email","enabled":false}]}`, "If-Match", p.header.Get("ETag"))
	s.do(s.buyer, http.MethodPut, "/api/v1/notification-preferences", `{"preferences":[]}`, "If-Match", p.header.Get("ETag"))
}

// pages reads a list to its end, a few at a time.
func (s *script) pages(who *user, path string) {
	for cursor, n := "", 0; n < 50; n++ {
		a := s.do(who, http.MethodGet, path+cursor, "")
		var page struct {
			Next *string `json:"next_cursor"`
		}
		require.NoError(s.t, json.Unmarshal([]byte(a.body), &page))
		if page.Next == nil {
			return
		}
		cursor = "&cursor=" + *page.Next
	}
}

// lists reads every list page by page, and takes cursors where they do not belong.
func (s *script) lists() {
	s.pages(s.buyer, "/api/v1/products?limit=2")
	s.pages(s.buyer, "/api/v1/orders?limit=3")
	s.pages(s.admin, "/api/v1/orders?limit=10&user_id="+s.other.id)
	s.pages(s.buyer, "/api/v1/notifications?limit=4")
	s.pages(s.admin, "/api/v1/users?limit=2")
	s.pages(s.admin, "/api/v1/users/"+s.buyer.id+"/credit/entries?limit=5")
	first := func(who *user, path string) string {
		return s.ask(who, http.MethodGet, path, "").json(s.t, "next_cursor")
	}
	products, orders, users := first(s.buyer, "/api/v1/products?limit=1"), first(s.buyer, "/api/v1/orders?limit=1"), first(s.admin, "/api/v1/users?limit=1")
	for _, path := range []string{
		"/api/v1/orders?cursor=" + products, "/api/v1/products?cursor=" + users, "/api/v1/products?q=desk&cursor=" + products, "/api/v1/notifications?cursor=" + orders,
		"/api/v1/products?cursor=" + products[:len(products)-1], "/api/v1/orders?cursor=42",
	} {
		s.do(s.buyer, http.MethodGet, path, "")
	}
	s.do(s.other, http.MethodGet, "/api/v1/orders?cursor="+orders, "")
	long := s.ask(s.admin, http.MethodGet, "/api/v1/orders?limit=100", "")
	s.rec.add("a long list comes compressed", strconv.FormatBool(long.packed))
}

// money is read, and moved against the rules.
func (s *script) money() {
	for _, amount := range []string{`{"minor_units":-1,"currency":"EUR"}`, `{"minor_units":1,"currency":"USD"}`, `{"minor_units":1000000000000,"currency":"EUR"}`, `1`, `{"minor_units":9223372036854775808,"currency":"EUR"}`} {
		s.do(s.admin, http.MethodPost, "/api/v1/users/"+s.buyer.id+"/credit/top-ups", `{"amount":`+amount+`}`)
	}
	s.do(s.admin, http.MethodPost, "/api/v1/users/00000000-0000-4000-8000-000000000000/credit/top-ups", `{"amount":{"minor_units":1,"currency":"EUR"}}`)
	s.do(s.buyer, http.MethodGet, "/api/v1/users/"+s.buyer.id+"/credit", "")
}

// operators look at every module, and change who may do what.
func (s *script) operators() {
	for _, m := range append([]string{"invoices"}, names...) {
		path := "/api/v1/admin/modules/" + m
		for _, list := range []string{"/dead-letters?limit=2", "/policies", "/audit/verification", "/policy-decision?role=customer&permission=" + m + ":place", "/sagas?state=compensated"} {
			s.do(s.admin, http.MethodGet, path+list, "")
		}
		topics := s.ask(s.admin, http.MethodGet, path+"/topics", "")
		topics.body = "" // the pipe within a process keeps what a broker would keep elsewhere
		s.note("the topics of "+m, topics)
		s.do(s.buyer, http.MethodGet, path+"/lag", "")
		s.do(s.admin, http.MethodGet, path+"/dead-letters/"+m+".nothing/00000000-0000-4000-8000-000000000000", "")
		s.do(s.admin, http.MethodPost, path+"/dead-letters/retry", `{"all":true,"dry_run":true}`)
		s.do(s.admin, http.MethodPost, path+"/sagas/retry", `{}`)
	}
	s.pages(s.admin, "/api/v1/admin/modules/user/audit?limit=7")
	s.pages(s.admin, "/api/v1/admin/modules/order/audit?limit=7")
	rule := s.do(s.admin, http.MethodPost, "/api/v1/admin/modules/order/policies", `{"role":"customer","permission":"order:list","scope":"own","effect":"deny"}`)
	s.until(s.buyer, "/api/v1/orders", func(a answer) bool { return a.status == http.StatusForbidden })
	s.do(s.admin, http.MethodDelete, "/api/v1/admin/modules/order/policies/"+rule.json(s.t, "id"), "")
	s.until(s.buyer, "/api/v1/orders?limit=1", func(a answer) bool { return a.status == http.StatusOK })
}

// exports asks for all that the modules keep of somebody, which one process puts together, wherever the modules run.
func (s *script) exports() {
	s.settle()
	for _, who := range []*user{nil, s.buyer, s.other, s.admin} {
		s.do(who, http.MethodGet, "/api/v1/me/export", "")
	}
	s.do(s.buyer, http.MethodGet, "/api/v1/me/export?of="+s.other.id, "")
}

// keys are those of programs, and other log-ins.
func (s *script) keys() {
	k := s.do(s.buyer, http.MethodPost, "/api/v1/me/api-keys", fmt.Sprintf(`{"name":"report","scopes":["order:list"],"expires_in_days":9,"password":%q}`, password))
	var made struct {
		Secret string `json:"api_key"`
		ID     string `json:"id"`
		Key    struct {
			ID string `json:"id"`
		} `json:"key"`
	}
	require.NoError(s.t, json.Unmarshal([]byte(k.body), &made))
	a := s.do(nil, http.MethodPost, "/api/v1/tokens/api-key", fmt.Sprintf(`{"api_key":%q}`, made.Secret))
	robot := &user{token: a.json(s.t, "access_token")}
	s.rec.add("the token of an API key", claims(robot.token))
	s.do(robot, http.MethodGet, "/api/v1/orders?limit=1", "")
	s.do(robot, http.MethodPost, "/api/v1/orders", lines(s.lamp, 1))
	s.do(robot, http.MethodGet, "/api/v1/notifications", "")
	s.do(robot, http.MethodGet, "/api/v1/me/export", "")
	s.do(s.buyer, http.MethodGet, "/api/v1/me/api-keys", "")
	s.do(s.buyer, http.MethodDelete, "/api/v1/me/api-keys/"+made.ID+made.Key.ID, "")
	s.until(robot, "/api/v1/orders?limit=1", func(a answer) bool { return a.status == http.StatusUnauthorized })

	again := s.logIn(s.buyer.email)
	s.do(again, http.MethodGet, "/api/v1/me/sessions", "")
	s.do(again, http.MethodDelete, "/api/v1/sessions/current", "")
	s.until(again, "/api/v1/orders", func(a answer) bool { return a.status == http.StatusUnauthorized })
	s.do(s.other, http.MethodPost, "/api/v1/me/second-factor", `{"password":"wrong horse battery"}`)
	s.do(s.other, http.MethodPost, "/api/v1/me/password", fmt.Sprintf(`{"current_password":%q,"new_password":"password"}`, password))
}
