package domain_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cleave/modules/user/internal/domain"
)

func TestUserChanges(t *testing.T) {
	t.Parallel()
	made, later := time.Unix(1, 0), time.Unix(2, 0)
	email, name := domain.Email("b@example.com"), "Ada"
	for label, c := range map[string]struct {
		change  func(u *domain.User) bool
		changes bool
	}{
		"Nothing":     {func(u *domain.User) bool { return u.Apply(domain.Change{}, later) }, false},
		"SameName":    {func(u *domain.User) bool { return u.Apply(domain.Change{DisplayName: &name}, later) }, false},
		"OtherEmail":  {func(u *domain.User) bool { return u.Apply(domain.Change{Email: &email}, later) }, true},
		"Disable":     {func(u *domain.User) bool { return u.SetDisabled(true, later) }, true},
		"EnableAgain": {func(u *domain.User) bool { return u.SetDisabled(false, later) }, false},
	} {
		t.Run(label, func(t *testing.T) {
			t.Parallel()
			u := domain.NewUser("id", "a@example.com", name, "hash", made, domain.RoleCustomer)
			before := u
			require.Equal(t, c.changes, c.change(&u))
			if !c.changes {
				require.Equal(t, before, u)
				return
			}
			require.Equal(t, before.Version+1, u.Version)
			require.Equal(t, later, u.UpdatedAt)
			require.Equal(t, made, u.CreatedAt)
		})
	}
}
