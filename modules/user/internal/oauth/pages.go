package oauth

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"time"

	"cleave/modules/user/internal/app"
	"cleave/modules/user/internal/domain"
	"cleave/modules/user/internal/store"
	"cleave/platform/fault"
)

//go:embed pages.html
var pagesText string

// pages are what people see of the provider. They work without scripts.
type pages struct {
	app    *app.App
	issuer string
	secure bool
	page   *template.Template
}

// view is what the template shows.
type view struct {
	Page, Title, Nonce, Request, CSRF, Client, Email, Challenge, Lifetime, Error string
	Scopes                                                                       []string
}

// scopeTexts say what the person agrees to.
var scopeTexts = map[string]string{
	app.ScopeOpenID: "Know which account you have here", app.ScopeProfile: "See your display name", app.ScopeEmail: "See your e-mail address",
	app.ScopeOffline: "Keep this access while you are away",
}

func (p *pages) register(mux *http.ServeMux) {
	guard := http.NewCrossOriginProtection() // by Sec-Fetch-Site and Origin (ASVS 5.0 3.5.1); the token in the form is the second check
	mux.HandleFunc("GET "+loginPath, p.login)
	mux.Handle("POST "+loginPath, guard.Handler(http.HandlerFunc(p.logIn)))
	mux.Handle("POST "+codePath, guard.Handler(http.HandlerFunc(p.secondFactor)))
	mux.HandleFunc("GET "+consentPath, p.consent)
	mux.Handle("POST "+consentPath, guard.Handler(http.HandlerFunc(p.decide)))
	mux.HandleFunc("GET "+root+"/logged-out", func(w http.ResponseWriter, _ *http.Request) {
		p.show(w, http.StatusOK, view{Page: "message", Title: "You are logged out"}, "")
	})
}

// browserCookie ties a request for authorisation to the browser that began it (RFC 9700 section 4.7). Lax, because the browser comes
// from the application's site.
func browserCookie(secure bool, value string) *http.Cookie {
	c := &http.Cookie{Name: "cleave_login", Value: value, Path: root, HttpOnly: true, SameSite: http.SameSiteLaxMode, MaxAge: 900, Secure: secure} // #nosec G124 -- not Secure where the issuer is plain http, on this machine
	if secure {
		c.Name = "__Secure-cleave_login"
	}
	return c
}

// csrf is the form's token: only the page of the browser that has the cookie can hold it.
func csrf(browser string) string {
	sum := sha256.Sum256([]byte("csrf\x00" + browser))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// pending is the request that a browser is about to decide, or an answer that says there is none.
func (p *pages) pending(w http.ResponseWriter, r *http.Request) (v view, req store.AuthRequest, ok bool) {
	var c store.OAuthClient
	cookie, err := r.Cookie(browserCookie(p.secure, "").Name)
	if err == nil {
		req, c, err = p.app.Authorization(r.Context(), r.FormValue("request"), cookie.Value)
	}
	if err == nil && r.Method == http.MethodPost && subtle.ConstantTimeCompare([]byte(r.PostFormValue("csrf")), []byte(csrf(cookie.Value))) != 1 {
		err = http.ErrNoCookie
	}
	if err != nil {
		status := http.StatusBadRequest
		if k := fault.KindOf(err); k == fault.Unavailable || k == fault.Timeout {
			status = http.StatusServiceUnavailable
		}
		p.show(w, status, view{Page: "message", Title: "This request has expired", Error: "Please start again at the application that sent you here."}, "")
		return v, req, false
	}
	return view{Request: req.ID, CSRF: csrf(cookie.Value), Client: c.Name}, req, true
}

func (p *pages) login(w http.ResponseWriter, r *http.Request) {
	if v, _, ok := p.pending(w, r); ok {
		v.Page, v.Title = "login", "Log in"
		p.show(w, http.StatusOK, v, "")
	}
}

func (p *pages) logIn(w http.ResponseWriter, r *http.Request) {
	v, req, ok := p.pending(w, r)
	if !ok {
		return
	}
	email := r.PostFormValue("email")
	challenge, err := p.app.LogInFor(r.Context(), req, email, r.PostFormValue("password"))
	switch {
	case err != nil:
		v.Page, v.Title, v.Email = "login", "Log in", email
		p.refuse(w, v, err)
	case challenge != nil:
		v.Page, v.Title, v.Challenge = "code", "Second step", challenge.Token
		p.show(w, http.StatusOK, v, "")
	default:
		http.Redirect(w, r, consentPath+"?request="+url.QueryEscape(req.ID), http.StatusSeeOther)
	}
}

// secondFactor takes the code that a right password asked for. It is read as people write it: in any case and with spaces.
func (p *pages) secondFactor(w http.ResponseWriter, r *http.Request) {
	v, req, ok := p.pending(w, r)
	if !ok {
		return
	}
	v.Challenge = r.PostFormValue("challenge")
	code := strings.ToUpper(strings.Join(strings.Fields(r.PostFormValue("code")), ""))
	err := p.app.LogInSecondFactorFor(r.Context(), req, v.Challenge, code)
	if err == nil {
		http.Redirect(w, r, consentPath+"?request="+url.QueryEscape(req.ID), http.StatusSeeOther)
		return
	}
	v.Page, v.Title = "code", "Second step"
	if errors.Is(err, domain.ErrChallenge) {
		v.Page, v.Title = "login", "Log in"
	}
	p.refuse(w, v, err)
}

// refuse shows a form once more, with what was wrong about the last one.
func (p *pages) refuse(w http.ResponseWriter, v view, err error) {
	status := http.StatusServiceUnavailable
	v.Error = "That did not work just now. Please try again."
	switch f := fault.From(err); f.Kind {
	case fault.Unauthenticated, fault.Forbidden:
		status, v.Error = http.StatusUnauthorized, f.Message
	case fault.Exhausted:
		status, v.Error = http.StatusTooManyRequests, f.Message
	}
	p.show(w, status, v, "")
}

func (p *pages) consent(w http.ResponseWriter, r *http.Request) {
	v, req, ok := p.pending(w, r)
	if !ok {
		return
	}
	if req.UserID == "" {
		http.Redirect(w, r, loginPath+"?request="+url.QueryEscape(req.ID), http.StatusSeeOther)
		return
	}
	v.Page, v.Title = "consent", "Allow access?"
	for _, s := range req.Scopes {
		text := scopeTexts[s]
		if text == "" {
			text = "Use the " + s + " service in your name"
		}
		v.Scopes = append(v.Scopes, text)
	}
	v.Lifetime = lifetime(p.app.SessionTTL)
	p.show(w, http.StatusOK, v, origin(req.RedirectURI))
}

// decide answers the application (RFC 6749 section 4.1.2, with iss of RFC 9207).
func (p *pages) decide(w http.ResponseWriter, r *http.Request) {
	_, req, ok := p.pending(w, r)
	if !ok {
		return
	}
	target, err := url.Parse(req.RedirectURI)
	q := url.Values{}
	switch {
	case err != nil || req.UserID == "":
		p.show(w, http.StatusBadRequest, view{Page: "message", Title: "Log in first", Error: "Please start again at the application that sent you here."}, "")
		return
	case r.PostFormValue("decision") == "allow":
		var code string
		if code, err = p.app.Consent(r.Context(), req); err == nil {
			q.Set("code", code)
		}
	default:
		q.Set("error", "access_denied")
		err = p.app.Refuse(r.Context(), req)
	}
	if err != nil {
		p.show(w, http.StatusServiceUnavailable, view{Page: "message", Title: "That did not work", Error: "Please start again at the application that sent you here."}, "")
		return
	}
	gone := browserCookie(p.secure, "") // #nosec G124 -- as browserCookie says
	gone.MaxAge = -1
	http.SetCookie(w, gone)
	q.Set("iss", p.issuer)
	if req.State != "" {
		q.Set("state", req.State)
	}
	for name, values := range target.Query() { // what was registered stays
		if !q.Has(name) {
			q[name] = values
		}
	}
	target.RawQuery = q.Encode()
	http.Redirect(w, r, target.String(), http.StatusSeeOther)
}

// lifetime is how long an authorisation lasts at most, for people (ASVS 5.0 10.7.2).
func lifetime(d time.Duration) string {
	const day = 24 * time.Hour
	n, unit := (d+day-1)/day, "day"
	if d < 2*day {
		n, unit = (d+time.Hour-1)/time.Hour, "hour"
	}
	if n > 1 {
		unit += "s"
	}
	return fmt.Sprint(int64(n)) + " " + unit
}

func origin(uri string) string {
	u, err := url.Parse(uri)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// show writes a page. A form may lead to this server and, through its redirect, to formTarget (CSP 3 section 6.4.1).
func (p *pages) show(w http.ResponseWriter, status int, v view, formTarget string) {
	v.Nonce = rand.Text()
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'nonce-"+v.Nonce+"'; form-action 'self' "+formTarget+"; base-uri 'none'; frame-ancestors 'none'")
	w.WriteHeader(status)
	_ = p.page.Execute(w, v) // a browser that has gone needs no answer
}
