package paritytest

import (
	"context"
	"net/url"
	"slices"
	"strings"

	"google.golang.org/grpc"

	frontv1 "cleave/platform/front/v1"
)

// exchange is a defect of a front door; either may be nil.
type exchange struct {
	request  func(*frontv1.ExchangeRequest)
	response func(*frontv1.ExchangeResponse)
	held     bool // event streams arrive when they end
}

func dropped(name string) func([]*frontv1.Header) []*frontv1.Header {
	return func(all []*frontv1.Header) []*frontv1.Header {
		return slices.DeleteFunc(all, func(h *frontv1.Header) bool { return h.GetName() == name })
	}
}

func withoutRequest(name string) exchange {
	return exchange{request: func(r *frontv1.ExchangeRequest) {
		if r.Head != nil {
			r.Head.Headers = dropped(name)(r.Head.Headers)
		}
	}}
}

func withoutResponse(name string) exchange {
	return exchange{response: func(r *frontv1.ExchangeResponse) {
		if r.Head != nil {
			r.Head.Headers = dropped(name)(r.Head.Headers)
		}
	}}
}

// rewritten changes what is in the request line.
func rewritten(fn func(*url.URL)) exchange {
	return exchange{request: func(r *frontv1.ExchangeRequest) {
		if u, err := url.ParseRequestURI(string(r.GetHead().GetUri())); err == nil && r.Head != nil {
			fn(u)
			r.Head.Uri = []byte(u.RequestURI())
		}
	}}
}

var fronts = map[string]exchange{
	"etag_dropped":            withoutResponse("Etag"),
	"challenge_dropped":       withoutResponse("Www-Authenticate"),
	"cookie_dropped":          withoutResponse("Set-Cookie"),
	"idempotency_key_dropped": withoutRequest("Idempotency-Key"),
	"if_match_dropped":        withoutRequest("If-Match"),
	"last_event_id_dropped":   withoutRequest("Last-Event-Id"),
	"request_id_changed":      withoutRequest("X-Request-Id"),
	"query_encoded_again":     rewritten(func(u *url.URL) { u.RawQuery = u.Query().Encode() }),
	"stream_held":             {held: true},
	"location_rewritten": {response: func(r *frontv1.ExchangeResponse) {
		for _, h := range r.GetHead().GetHeaders() {
			if h.GetName() == "Location" && strings.HasPrefix(string(h.GetValues()[0]), "/") {
				h.Values[0] = append([]byte("http://module.internal"), h.Values[0]...)
			}
		}
	}},
	"values_joined": {request: func(r *frontv1.ExchangeRequest) {
		for _, h := range r.GetHead().GetHeaders() {
			h.Values = h.Values[:1]
		}
	}},
	"status_flattened": {response: func(r *frontv1.ExchangeResponse) {
		if r.Head != nil && r.Head.Status == 409 {
			r.Head.Status = 400
		}
	}},
	"body_cut": {response: func(r *frontv1.ExchangeResponse) {
		if most := 1024; len(r.GetBody()) > most {
			r.Body = r.Body[:most]
			if r.Head != nil {
				r.Head.Headers = dropped("Content-Length")(r.Head.Headers)
			}
		}
	}},
}

type front struct {
	grpc.ClientConnInterface
	defect exchange
}

// NewStream implements grpc.ClientConnInterface.
func (f *front) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	s, err := f.ClientConnInterface.NewStream(ctx, desc, method, opts...)
	return &stream{ClientStream: s, defect: f.defect}, err
}

type stream struct {
	grpc.ClientStream
	defect exchange
	events bool // answers with events
}

// SendMsg implements grpc.ClientStream.
func (s *stream) SendMsg(m any) error {
	if r, ok := m.(*frontv1.ExchangeRequest); ok && s.defect.request != nil {
		s.defect.request(r)
	}
	return s.ClientStream.SendMsg(m)
}

// RecvMsg implements grpc.ClientStream.
func (s *stream) RecvMsg(m any) error {
	if err := s.ClientStream.RecvMsg(m); err != nil {
		return err
	}
	r, ok := m.(*frontv1.ExchangeResponse)
	if !ok {
		return nil
	}
	for _, h := range r.GetHead().GetHeaders() {
		s.events = s.events || h.GetName() == "Content-Type" && string(h.GetValues()[0]) == "text/event-stream"
	}
	if s.defect.held && s.events && len(r.GetBody()) > 0 {
		<-s.Context().Done()
		return s.Context().Err()
	}
	if s.defect.response != nil {
		s.defect.response(r)
	}
	return nil
}
