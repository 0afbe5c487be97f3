package api

import (
	"context"
	"encoding/hex"
	"maps"
	"slices"

	"cleave/platform/audit"
	"cleave/platform/rest"
)

// ListAuditEntries implements GET /api/v1/admin/modules/{module}/audit.
func (s server) ListAuditEntries(ctx context.Context, r ListAuditEntriesRequestObject) (ListAuditEntriesResponseObject, error) {
	m, err := s.module(r.Module)
	if err != nil {
		return nil, err
	}
	const list = "audit"
	p := r.Params
	filter := join(rest.Deref(p.Action), rest.Deref(p.Object), rest.Deref(p.Actor), instant(p.Since), instant(p.Until))
	at, err := m.position(list, filter, p.Cursor)
	if err != nil {
		return nil, err
	}
	limit := pageSize(p.Limit)
	entries, err := m.Audit.List(ctx, audit.Filter{
		Action: rest.Deref(p.Action), Object: rest.Deref(p.Object), Subject: rest.Deref(p.Actor), Since: rest.Deref(p.Since), Until: rest.Deref(p.Until),
		Before: at.At, Limit: limit + 1,
	})
	if err != nil {
		return nil, err
	}
	out := ListAuditEntries200JSONResponse{Items: make([]AuditEntry, min(len(entries), limit))}
	for i := range out.Items {
		out.Items[i] = wireEntry(entries[i])
	}
	if len(entries) > limit {
		out.NextCursor = m.next(list, filter, rest.Position{At: entries[limit-1].Seq})
	}
	return out, nil
}

func wireEntry(e audit.Entry) AuditEntry {
	w := AuditEntry{
		Seq: e.Seq, At: e.At, Issuer: e.Actor.Issuer, Subject: e.Actor.Subject, Action: e.Action, Object: e.Object,
		Address: rest.Optional(e.Address), RequestID: rest.Optional(e.RequestID), TraceID: rest.Optional(e.TraceID), Hash: hex.EncodeToString(e.Hash),
	}
	if len(e.Detail) > 0 {
		detail := make([]AuditDetail, 0, len(e.Detail))
		for _, name := range slices.Sorted(maps.Keys(e.Detail)) {
			detail = append(detail, AuditDetail{Name: name, Value: e.Detail[name]})
		}
		w.Detail = &detail
	}
	return w
}

// VerifyAudit implements GET /api/v1/admin/modules/{module}/audit/verification.
func (s server) VerifyAudit(ctx context.Context, r VerifyAuditRequestObject) (VerifyAuditResponseObject, error) {
	m, err := s.module(r.Module)
	if err != nil {
		return nil, err
	}
	var anchor *audit.Head
	if r.Params.Head != nil {
		head, err := audit.ParseHead(*r.Params.Head)
		if err != nil {
			return nil, err
		}
		anchor = &head
	}
	report, err := m.Audit.Verify(ctx, anchor)
	return VerifyAudit200JSONResponse{
		Intact: report.Broken == "", Entries: report.Entries, Head: report.Head.String(), Broken: rest.Optional(report.Broken),
	}, err
}
