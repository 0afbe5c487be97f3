package api

import (
	"context"
	"strconv"

	"cleave/modules/user/internal/app"
	"cleave/modules/user/internal/store"
	"cleave/platform/rest"
)

const userPath = "/api/v1/users/"

// RegisterUser implements POST /api/v1/users.
func (s server) RegisterUser(ctx context.Context, r RegisterUserRequestObject) (RegisterUserResponseObject, error) {
	u, err := s.app.Register(ctx, app.Registration{Email: r.Body.Email, Password: r.Body.Password, DisplayName: r.Body.DisplayName})
	if err != nil {
		return nil, err
	}
	body, err := wireUser(u)
	return RegisterUser201JSONResponse{
		Body: body, Headers: RegisterUser201ResponseHeaders{ETag: rest.ETag(u.Version), Location: userPath + u.ID},
	}, err
}

// CreateFirstAdmin implements POST /api/v1/users/first-admin.
func (s server) CreateFirstAdmin(ctx context.Context, r CreateFirstAdminRequestObject) (CreateFirstAdminResponseObject, error) {
	u, err := s.app.CreateFirstAdmin(ctx, r.Body.Token,
		app.Registration{Email: r.Body.Email, Password: r.Body.Password, DisplayName: r.Body.DisplayName})
	if err != nil {
		return nil, err
	}
	body, err := wireUser(u)
	return CreateFirstAdmin201JSONResponse{
		Body: body, Headers: CreateFirstAdmin201ResponseHeaders{ETag: rest.ETag(u.Version), Location: userPath + u.ID},
	}, err
}

// GetProfile implements GET /api/v1/me.
func (s server) GetProfile(ctx context.Context, _ GetProfileRequestObject) (GetProfileResponseObject, error) {
	p, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	u, err := s.app.Self(ctx, p.Subject)
	if err != nil {
		return nil, err
	}
	body, err := wireUser(u)
	return GetProfile200JSONResponse{Body: body, Headers: GetProfile200ResponseHeaders{ETag: rest.ETag(u.Version)}}, err
}

// UpdateProfile implements PATCH /api/v1/me.
func (s server) UpdateProfile(ctx context.Context, r UpdateProfileRequestObject) (UpdateProfileResponseObject, error) {
	p, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	version, err := rest.ParseIfMatch(r.Params.IfMatch)
	if err != nil {
		return nil, err
	}
	u, err := s.app.UpdateProfile(ctx, p.Subject, version, app.ProfileChange{
		Email: r.Body.Email, Password: rest.Deref(r.Body.Password), DisplayName: r.Body.DisplayName,
	})
	if err != nil {
		return nil, err
	}
	body, err := wireUser(u)
	return UpdateProfile200JSONResponse{Body: body, Headers: UpdateProfile200ResponseHeaders{ETag: rest.ETag(u.Version)}}, err
}

// GetUser implements GET /api/v1/users/{user_id}.
func (s server) GetUser(ctx context.Context, r GetUserRequestObject) (GetUserResponseObject, error) {
	u, err := s.app.User(ctx, r.UserID.String())
	if err != nil {
		return nil, err
	}
	body, err := wireUser(u)
	return GetUser200JSONResponse{Body: body, Headers: GetUser200ResponseHeaders{ETag: rest.ETag(u.Version)}}, err
}

// ListUsers implements GET /api/v1/users.
func (s server) ListUsers(ctx context.Context, r ListUsersRequestObject) (ListUsersResponseObject, error) {
	f := store.UserFilter{Text: rest.Deref(r.Params.Q), Disabled: r.Params.Disabled}
	state := "all"
	if f.Disabled != nil {
		state = strconv.FormatBool(*f.Disabled)
	}
	filter := state + " " + f.Text
	page, err := s.page("users", filter, r.Params.Limit, r.Params.Cursor)
	if err != nil {
		return nil, err
	}
	users, more, err := s.app.ListUsers(ctx, f, page)
	if err != nil {
		return nil, err
	}
	list := ListUsers200JSONResponse{Items: make([]User, len(users))}
	for i, u := range users {
		if list.Items[i], err = wireUser(u); err != nil {
			return nil, err
		}
	}
	if more {
		list.NextCursor = s.next("users", filter, userPosition(users[len(users)-1]))
	}
	return list, nil
}

// DisableUser implements POST /api/v1/users/{user_id}/disable.
func (s server) DisableUser(ctx context.Context, r DisableUserRequestObject) (DisableUserResponseObject, error) {
	p, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	u, err := s.app.DisableUser(ctx, p.Subject, r.UserID.String())
	if err != nil {
		return nil, err
	}
	body, err := wireUser(u)
	return DisableUser200JSONResponse{Body: body, Headers: DisableUser200ResponseHeaders{ETag: rest.ETag(u.Version)}}, err
}

// SetRoles implements PUT /api/v1/users/{user_id}/roles.
func (s server) SetRoles(ctx context.Context, r SetRolesRequestObject) (SetRolesResponseObject, error) {
	version, err := rest.ParseIfMatch(r.Params.IfMatch)
	if err != nil {
		return nil, err
	}
	u, err := s.app.SetRoles(ctx, r.UserID.String(), version, r.Body.Roles)
	if err != nil {
		return nil, err
	}
	body, err := wireUser(u)
	return SetRoles200JSONResponse{Body: body, Headers: SetRoles200ResponseHeaders{ETag: rest.ETag(u.Version)}}, err
}

// EnableUser implements POST /api/v1/users/{user_id}/enable.
func (s server) EnableUser(ctx context.Context, r EnableUserRequestObject) (EnableUserResponseObject, error) {
	u, err := s.app.EnableUser(ctx, r.UserID.String())
	if err != nil {
		return nil, err
	}
	body, err := wireUser(u)
	return EnableUser200JSONResponse{Body: body, Headers: EnableUser200ResponseHeaders{ETag: rest.ETag(u.Version)}}, err
}

// RecordExport implements POST /api/v1/me/exports.
func (s server) RecordExport(ctx context.Context, _ RecordExportRequestObject) (RecordExportResponseObject, error) {
	p, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	return RecordExport204Response{}, s.app.RecordExport(ctx, p.Subject)
}

// DeleteAccount implements POST /api/v1/me/delete.
func (s server) DeleteAccount(ctx context.Context, r DeleteAccountRequestObject) (DeleteAccountResponseObject, error) {
	p, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	return DeleteAccount204Response{}, s.app.DeleteAccount(ctx, p, r.Body.Password, rest.Deref(r.Body.Code))
}
