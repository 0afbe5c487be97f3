package api

import (
	"context"

	"cleave/platform/auth"
	"cleave/platform/db"
	"cleave/platform/policy"
	"cleave/platform/rest"
)

// ListPolicies implements GET /api/v1/admin/modules/{module}/policies.
func (s server) ListPolicies(ctx context.Context, r ListPoliciesRequestObject) (ListPoliciesResponseObject, error) {
	m, err := s.module(r.Module)
	if err != nil {
		return nil, err
	}
	rows, err := m.Rules.List(ctx)
	if err != nil {
		return nil, err
	}
	out := ListPolicies200JSONResponse{Items: make([]PolicyRule, len(rows))}
	for i, row := range rows {
		out.Items[i] = wireRule(row)
	}
	return out, nil
}

func wireRule(r policy.Row) PolicyRule {
	return PolicyRule{
		ID: r.ID, Origin: PolicyRuleOrigin(r.Origin), Line: rest.Optional(int64(r.Line)), Role: r.Role, Permission: r.Permission,
		Scope: PolicyRuleScope(r.Scope), Effect: PolicyRuleEffect(r.Effect), ChangedBy: r.ChangedBy, ChangedAt: db.FromMicros(r.ChangedAt),
	}
}

// AddPolicy implements POST /api/v1/admin/modules/{module}/policies.
func (s server) AddPolicy(ctx context.Context, r AddPolicyRequestObject) (AddPolicyResponseObject, error) {
	m, err := s.module(r.Module)
	if err != nil {
		return nil, err
	}
	b := r.Body
	row, err := m.Rules.Add(ctx, b.Role, b.Permission, string(b.Scope), string(b.Effect) == policy.Deny)
	return AddPolicy201JSONResponse(wireRule(row)), err
}

// RemovePolicy implements DELETE /api/v1/admin/modules/{module}/policies/{policy_id}.
func (s server) RemovePolicy(ctx context.Context, r RemovePolicyRequestObject) (RemovePolicyResponseObject, error) {
	m, err := s.module(r.Module)
	if err != nil {
		return nil, err
	}
	_, err = m.Rules.Remove(ctx, r.PolicyID)
	return RemovePolicy204Response{}, err
}

// ExplainPolicy implements GET /api/v1/admin/modules/{module}/policy-decision.
func (s server) ExplainPolicy(_ context.Context, r ExplainPolicyRequestObject) (ExplainPolicyResponseObject, error) {
	m, err := s.module(r.Module)
	if err != nil {
		return nil, err
	}
	e := m.Rules.Policy.Explain([]string{r.Params.Role}, r.Params.Permission)
	out := ExplainPolicy200JSONResponse{Decision: PolicyDecisionDecision(e.Decision.String()), By: "no rule grants it"}
	if e.By != nil {
		out.By = e.By.String()
	}
	if e.Limit != nil && e.Decision == auth.Own {
		out.Limit = rest.Optional(e.Limit.String())
	}
	return out, nil
}
