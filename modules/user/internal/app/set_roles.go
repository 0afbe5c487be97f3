package app

import (
	"context"
	"slices"
	"strings"

	"cleave/modules/user/internal/domain"
	userv1 "cleave/modules/user/v1"
)

// SetRoles gives a user who is still at the given version other roles; else it is ErrStale. The user's access tokens, which speak of
// the former roles, end in every module; their sessions go on (ASVS 5.0 8.3.2). Nothing happens when the roles are the same.
//
// Roles that do not exist are Unprocessable at /roles; ErrLastAdmin.
func (a *App) SetRoles(ctx context.Context, id string, version int64, roles []string) (domain.User, error) {
	if err := domain.CheckRoles("/roles", roles); err != nil {
		return domain.User{}, err
	}
	var u domain.User
	err := a.DB.Tx(ctx, func(ctx context.Context) (err error) {
		// Two administrators who take the role from each other pass here one after the other.
		admins, err := a.Store.LockAdmins(ctx)
		if err != nil {
			return err
		}
		if u, err = a.Store.UserForUpdate(ctx, id); err != nil {
			return err
		}
		former := strings.Join(u.Roles, " ")
		switch {
		case u.Version != version:
			return domain.ErrStale
		case !u.SetRoles(roles, a.now()):
			return nil
		case !u.IsAdmin() && len(admins) == 1 && slices.Contains(admins, id):
			return domain.ErrLastAdmin
		}
		if err := a.Store.UpdateUser(ctx, u); err != nil {
			return err
		}
		if err := a.Store.ReplaceRoles(ctx, u); err != nil {
			return err
		}
		if err := a.Events.Publish(ctx, id, &userv1.UserRolesChanged{UserId: id, Roles: u.Roles, Version: u.Version}); err != nil {
			return err
		}
		return a.audited(ctx, "user:role:set", id, map[string]string{"former": former, "roles": strings.Join(u.Roles, " ")})
	})
	return u, err
}
