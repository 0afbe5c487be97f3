package module

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"cleave/platform/auth"
	"cleave/platform/config"
	"cleave/platform/trust"
)

// useAccounts makes this process show its service account to others, and take theirs, as far as the configuration says so.
func (h *Host) useAccounts() error {
	t, l := h.cfg.Topology, h.links
	l.self.Present(t.TokenFile)
	if len(t.Accounts) == 0 {
		if t.AccountIssuer != "" {
			return errors.New("topology.account_issuer is set, and topology.accounts is empty: no account would be let in")
		}
		return nil
	}
	at := slices.IndexFunc(h.cfg.Auth.Issuers, func(i config.Issuer) bool { return i.Issuer == t.AccountIssuer })
	if at < 0 {
		return fmt.Errorf("topology.account_issuer is %q, which auth.issuers does not have", t.AccountIssuer)
	}
	l.accounts = map[string]*auth.Issuers{}
	for _, s := range h.start {
		issuer := outsideIssuer(h.cfg.Auth.Issuers[at])
		issuer.Audience = s.Name
		var err error
		if l.accounts[s.Name], err = auth.NewIssuers([]auth.OutsideIssuer{issuer}, h.o.Log, h.o.Now); err != nil {
			return fmt.Errorf("topology.account_issuer: %w", err)
		}
	}
	a := trust.Accounts{
		Modules: map[string][]string{},
		Verify: func(ctx context.Context, audience, token string) (string, time.Time, error) {
			if l.accounts[audience] == nil {
				return "", time.Time{}, errors.New("for a module that does not run here")
			}
			p, err := l.accounts[audience].Verify(ctx, token)
			return p.IssuerSubject, p.Expires, err
		},
	}
	for _, account := range t.Accounts {
		namespace, name, _ := strings.Cut(account.Account, "/")
		a.Modules["system:serviceaccount:"+namespace+":"+name] = account.Modules
	}
	if err := l.self.Accept(a); err != nil {
		return fmt.Errorf("topology.accounts: %w", err)
	}
	return nil
}
