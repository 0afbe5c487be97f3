package api

import (
	"context"

	"cleave/modules/user/internal/domain"
	"cleave/platform/rest"
)

// GetCredit implements GET /api/v1/users/{user_id}/credit.
func (s server) GetCredit(ctx context.Context, r GetCreditRequestObject) (GetCreditResponseObject, error) {
	a, err := s.app.Credit(ctx, r.UserID.String())
	if err != nil {
		return nil, err
	}
	body, err := wireCredit(a)
	return GetCredit200JSONResponse{Body: body, Headers: GetCredit200ResponseHeaders{ETag: rest.ETag(a.Version)}}, err
}

// TopUpCredit implements POST /api/v1/users/{user_id}/credit/top-ups.
func (s server) TopUpCredit(ctx context.Context, r TopUpCreditRequestObject) (TopUpCreditResponseObject, error) {
	amount := domain.Money{MinorUnits: r.Body.Amount.MinorUnits, Currency: r.Body.Amount.Currency}
	e, err := s.app.TopUpCredit(ctx, r.UserID.String(), amount, rest.Deref(r.Body.Note))
	if err != nil {
		return nil, err
	}
	body, err := wireEntry(e)
	return TopUpCredit201JSONResponse(body), err
}

// ListCreditEntries implements GET /api/v1/users/{user_id}/credit/entries.
func (s server) ListCreditEntries(ctx context.Context, r ListCreditEntriesRequestObject) (ListCreditEntriesResponseObject, error) {
	userID := r.UserID.String()
	page, err := s.page("credit entries", userID, r.Params.Limit, r.Params.Cursor)
	if err != nil {
		return nil, err
	}
	entries, more, err := s.app.ListCreditEntries(ctx, userID, page)
	if err != nil {
		return nil, err
	}
	list := ListCreditEntries200JSONResponse{Items: make([]LedgerEntry, len(entries))}
	for i, e := range entries {
		if list.Items[i], err = wireEntry(e); err != nil {
			return nil, err
		}
	}
	if more {
		list.NextCursor = s.next("credit entries", userID, entryPosition(entries[len(entries)-1]))
	}
	return list, nil
}
