// Package vault reads secrets of the configuration from HashiCorp Vault.
package vault

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/hashicorp/vault/api"
)

const (
	timeout    = 5 * time.Second
	maxRetries = 2
)

// Read returns the field that a reference names: vault://PATH#FIELD, in which
// PATH is that of Vault's API, such as secret/data/cleave for version 2 of the
// key-value engine. Vault's own variables say where it is and who asks:
// VAULT_ADDR, VAULT_TOKEN, VAULT_NAMESPACE, VAULT_CACERT. Without a token it is
// taken for an agent that adds one.
func Read(reference *url.URL) (string, error) {
	path, field := reference.Host+reference.Path, reference.Fragment
	if reference.Host == "" || field == "" || reference.RawQuery != "" {
		return "", errors.New("the form is vault://PATH#FIELD")
	}
	c := api.DefaultConfig() // with the environment
	if c.Error != nil {
		return "", fmt.Errorf("set up the client of Vault: %w", c.Error)
	}
	c.Timeout, c.MaxRetries = timeout, maxRetries
	client, err := api.NewClient(c)
	if err != nil {
		return "", fmt.Errorf("set up the client of Vault: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	secret, err := client.Logical().ReadWithContext(ctx, path)
	var answer *api.ResponseError
	switch {
	case errors.As(err, &answer) && answer.StatusCode == http.StatusForbidden:
		return "", errors.New("access is denied; check VAULT_TOKEN and its policy")
	case err != nil:
		return "", err
	case secret == nil:
		return "", errors.New("there is nothing at this path")
	}
	data := secret.Data
	if inner, ok := data["data"].(map[string]any); ok { // version 2 wraps the fields
		data = inner
	}
	text, ok := data[field].(string)
	if !ok {
		return "", fmt.Errorf("there is no text field %s", field)
	}
	return text, nil
}
