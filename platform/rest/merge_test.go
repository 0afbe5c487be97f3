package rest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/require"

	"cleave/platform/auth"
)

func TestMerge(t *testing.T) {
	t.Parallel()
	other := strings.NewReplacer("/api/v1/", "/api/v2/", "version: 1.2.0", "version: 1.3.0", "name: Notes", "name: Others", "operationId: ", "operationId: other_").Replace(string(notesDocument))

	t.Run("Whole", func(t *testing.T) {
		t.Parallel()
		out, err := Merge(map[string][]byte{"notes": notesDocument, "others": []byte(other)})
		require.NoError(t, err)
		again, err := Merge(map[string][]byte{"others": []byte(other), "notes": notesDocument})
		require.NoError(t, err)
		require.Equal(t, string(out), string(again))
		doc, err := openapi3.NewLoader().LoadFromData(out)
		require.NoError(t, err)
		require.NoError(t, doc.Validate(t.Context()))
		require.Equal(t, 12, doc.Paths.Len())
		require.Equal(t, "1.3.0", doc.Info.Version)
		require.Equal(t, mergedTitle, doc.Info.Title)
		require.Len(t, doc.Tags, 2)
		require.Len(t, doc.Security, 1)
		require.Equal(t, "self", doc.Paths.Value("/api/v1/notes").Post.Extensions["x-owner"])
	})

	for name, tt := range map[string]struct{ old, new, want string }{
		"Path":      {"/api/v2/notes/stream", "/api/v1/notes/stream", "modules notes and others both describe the path /api/v1/notes/stream"},
		"Component": {"Change:\n      type: object", "Change:\n      description: Another.\n      type: object", "modules notes and others differ in the schema Change"},
		"Response":  {"description: Try again.", "description: Never.", "differ in the response Unavailable"},
		"Parameter": {"maxLength: 255", "maxLength: 99", "differ in the parameter IdempotencyKey"},
		"Servers":   {"[{ url: / }]", "[{ url: /other }]", "differ in the servers"},
		"Security":  {"security: [{ bearer: [] }]", "security: []", "differ in the security"},
		"Operation": {"operationId: other_logIn", "operationId: logIn", "the same operation id"},
		"Tag":       {"name: Others, description: What people wrote", "name: Notes, description: Other", "differ in the tag Notes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Contains(t, other, tt.old)
			_, err := Merge(map[string][]byte{"notes": notesDocument, "others": []byte(strings.Replace(other, tt.old, tt.new, 1))})
			require.ErrorContains(t, err, tt.want)
		})
	}

	t.Run("Unreadable", func(t *testing.T) {
		t.Parallel()
		_, err := Merge(map[string][]byte{"notes": []byte("{")})
		require.ErrorContains(t, err, "module notes")
	})
}

// TestMerge_Modules holds the platform's demands against the documents of this repository.
func TestMerge_Modules(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../modules/*/v1/openapi.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	docs := map[string][]byte{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		module := filepath.Base(filepath.Dir(filepath.Dir(file)))
		docs[module] = data
		doc, err := loadDocument(data)
		require.NoError(t, err)
		// A policy that grants what the document asks for leaves the other demands.
		var grants strings.Builder
		for _, item := range doc.Paths.Map() {
			for _, o := range item.Operations() {
				if p, _ := o.Extensions["x-permission"].(string); p != permissionPublic {
					grants.WriteString("p, admin, " + p + ", any\n")
				}
			}
		}
		policy, err := auth.NewPolicy(map[string]string{module: grants.String()})
		require.NoError(t, err)
		_, errs := compile(doc, policy)
		require.Empty(t, errs)
	}
	_, err = Merge(docs)
	require.NoError(t, err)
}
