// Package cli holds the user module's commands. They use its public API, as any client does, except for what an operator decides
// beside the API, with the database at hand.
package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	userrest "cleave/modules/user/v1/rest"
	"cleave/platform/fault"
	"cleave/platform/module"
)

// TokenFile is where in the data folder the server leaves the first administrator's token.
const TokenFile = "first-admin-token"

const (
	requestTimeout = 30 * time.Second
	maxPassword    = 1024 // bytes
)

// Commands returns the commands below `app user`.
func Commands(tool *module.Tool) []*cobra.Command {
	return []*cobra.Command{createAdmin(tool), keyCommands(tool), clientCommands(tool), roleCommands(tool), sessionCommands(tool)}
}

func createAdmin(tool *module.Tool) *cobra.Command {
	var url, token, email, name string
	var fromStdin bool
	c := &cobra.Command{
		Use:   "create-admin --email ADDRESS [--token TOKEN] [--password-stdin]",
		Short: "Make the first administrator of a running server",
		Long: "Makes the first administrator of a running server, with the one-time token that the server prints when it starts. " +
			"The password is asked for, or with --password-stdin read from standard input.",
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := tool.Config()
			if err != nil {
				return err
			}
			if token == "" {
				if token, err = readTokenFile(cfg.Data.Dir); err != nil {
					return err
				}
			}
			if url == "" {
				url = cfg.LocalURL(cfg.HTTP.Addr)
			}
			password, err := readPassword(tool, fromStdin)
			if err != nil {
				return err
			}
			u, err := create(c.Context(), url, userrest.CreateFirstAdmin{Token: token, Email: email, DisplayName: name, Password: password})
			if err != nil {
				return err
			}
			return tool.Print(u)
		},
	}
	f := c.Flags()
	f.StringVar(&url, "url", "", "reach the server at `URL` (default: where the configuration lets it listen)")
	f.StringVar(&token, "token", "", "the `TOKEN` that the server printed (default: from the file "+TokenFile+" in the data folder)")
	f.StringVar(&email, "email", "", "log in with this `ADDRESS`")
	f.StringVar(&name, "display-name", "Administrator", "the `NAME` to show to people")
	f.BoolVar(&fromStdin, "password-stdin", false, "read the password from standard input, up to the end of the line")
	cobra.CheckErr(c.MarkFlagRequired("email"))
	return c
}

func readTokenFile(dir string) (string, error) {
	b, err := os.ReadFile(filepath.Join(dir, TokenFile))
	if err != nil {
		return "", fault.New(fault.Invalid, "token_missing", "give the token that the server printed with --token").Wrap(err)
	}
	return strings.TrimSpace(string(b)), nil
}

// readPassword asks for the password without showing it when standard input is a terminal.
func readPassword(tool *module.Tool, fromStdin bool) (string, error) {
	if file, ok := tool.In.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		fmt.Fprint(tool.Err, "Password: ")
		b, err := term.ReadPassword(int(file.Fd()))
		fmt.Fprintln(tool.Err)
		return string(b), err
	}
	if !fromStdin {
		return "", fault.New(fault.Invalid, "password_missing", "there is no terminal to ask for the password: use --password-stdin")
	}
	line, err := bufio.NewReader(io.LimitReader(tool.In, maxPassword)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read the password from standard input: %w", err)
	}
	return strings.TrimRight(line, "\r\n"), nil
}

// create makes the administrator. It fails with Invalid when what was given is refused, and with the server's own code.
func create(ctx context.Context, url string, body userrest.CreateFirstAdmin) (*userrest.User, error) {
	client, err := userrest.NewClientWithResponses(strings.TrimRight(url, "/"), userrest.WithHTTPClient(&http.Client{Timeout: requestTimeout}))
	if err != nil {
		return nil, err
	}
	resp, err := client.CreateFirstAdminWithResponse(ctx, nil, body)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "server_unreachable", "the server at %s cannot be reached", url).Wrap(err)
	}
	if resp.JSON201 != nil {
		return resp.JSON201, nil
	}
	return nil, refusal(resp)
}

func refusal(resp *userrest.CreateFirstAdminResponse) error {
	for _, p := range []*userrest.Problem{
		resp.ApplicationProblemJSON400, resp.ApplicationProblemJSON403, resp.ApplicationProblemJSON409, resp.ApplicationProblemJSON422,
		resp.ApplicationProblemJSON429, resp.ApplicationProblemJSON500, resp.ApplicationProblemJSON503,
	} {
		if p == nil {
			continue
		}
		message := p.Title
		if p.Detail != nil {
			message = *p.Detail
		}
		kind := fault.Conflict
		if p.Status == http.StatusBadRequest || p.Status == http.StatusUnprocessableEntity {
			kind = fault.Invalid
		}
		return fault.New(kind, p.Code, "the server refused: %s (%s)", message, p.Code)
	}
	return fmt.Errorf("the server answered with %s, which is no answer of this API", resp.Status())
}
