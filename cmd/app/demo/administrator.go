package demo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/uuid"

	userrest "cleave/modules/user/v1/rest"
	"cleave/platform/fault"
)

// Files in the data folder.
const (
	passwordFile = "demo-admin-password" // written here, 0600
	tokenFile    = "first-admin-token"   // left by the server until there is an administrator
)

// administrator logs in, after making the first administrator where there is a
// token for that.
func (a *api) administrator(ctx context.Context, o *options, dataDir string, out *screen) (*session, error) {
	token := o.token
	if token == "" {
		b, err := os.ReadFile(filepath.Join(dataDir, tokenFile))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("read the first administrator's token: %w", err)
		}
		token = strings.TrimSpace(string(b))
	}
	file := o.password
	if file == "" {
		file = filepath.Join(dataDir, passwordFile)
	}
	password, err := readPassword(file)
	if errors.Is(err, fs.ErrNotExist) && o.password == "" && token != "" {
		if password, err = uuid.NewString(), os.MkdirAll(dataDir, 0o700); err == nil {
			// Before the administrator is made, so that an interruption locks nobody out.
			err = os.WriteFile(file, []byte(password+"\n"), 0o600)
		}
	}
	if err != nil {
		return nil, fault.New(fault.Invalid, "administrator_missing",
			"there is no administrator to work as: give --first-admin-token, or --admin-email and --admin-password-file").Wrap(err)
	}
	if token != "" {
		if err := a.makeFirst(ctx, userrest.CreateFirstAdmin{Token: token, Email: o.adminEmail, Password: password, DisplayName: "Demo Administrator"}); err != nil {
			return nil, err
		}
	}
	s, err := a.logIn(ctx, o.adminEmail, password)
	if err == nil {
		out.say(fmt.Sprintf("working as the administrator %s, whose password is in %s", o.adminEmail, file))
	}
	return s, err
}

func readPassword(file string) (string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	first, _, _ := strings.Cut(string(b), "\n")
	return strings.TrimRight(first, "\r"), nil
}

// makeFirst makes the first administrator; that there is one already is fine.
func (a *api) makeFirst(ctx context.Context, body userrest.CreateFirstAdmin) error {
	resp, err := a.users.CreateFirstAdminWithResponse(ctx, &userrest.CreateFirstAdminParams{IdempotencyKey: newKey()}, body)
	if err == nil && (resp.JSON201 != nil || problemOf(resp.Body).Code == "first_admin_exists") {
		return nil
	}
	return refusal("make the first administrator", resp, err)
}
