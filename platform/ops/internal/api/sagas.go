package api

import (
	"context"

	"cleave/platform/ops/repair"
	"cleave/platform/rest"
	"cleave/platform/saga"
)

// ListSagas implements GET /api/v1/admin/modules/{module}/sagas.
func (s server) ListSagas(ctx context.Context, r ListSagasRequestObject) (ListSagasResponseObject, error) {
	m, err := s.module(r.Module)
	if err != nil {
		return nil, err
	}
	const list = "sagas"
	p := r.Params
	filter := join(rest.Deref(p.Name), string(rest.Deref(p.State)), instant(p.Since), instant(p.Until))
	at, err := m.position(list, filter, p.Cursor)
	if err != nil {
		return nil, err
	}
	limit := pageSize(p.Limit)
	f := saga.Filter{
		Name: rest.Deref(p.Name), State: saga.State(rest.Deref(p.State)), After: rest.Deref(p.Since), Before: rest.Deref(p.Until), Limit: limit + 1,
	}
	if at.ID != "" {
		f.Next.Name, f.Next.ID = split(at.ID)
	}
	sagas, err := saga.List(ctx, m.DB, f)
	if err != nil {
		return nil, err
	}
	out := ListSagas200JSONResponse{Items: make([]Saga, min(len(sagas), limit))}
	for i := range out.Items {
		out.Items[i] = wireSaga(sagas[i])
	}
	if len(sagas) > limit {
		c := sagas[limit-1].Cursor()
		out.NextCursor = m.next(list, filter, rest.Position{ID: join(c.Name, c.ID)})
	}
	return out, nil
}

func wireSaga(i saga.Info) Saga {
	return Saga{
		Name: i.Name, ID: i.ID, State: SagaState(i.State), Step: rest.Optional(i.Step), Attempts: int64(i.Attempts), Cause: rest.Optional(i.Cause),
		Error: rest.Optional(i.Error), DueAt: rest.Optional(i.DueAt), Deadline: rest.Optional(i.Deadline), CreatedAt: i.CreatedAt, UpdatedAt: i.UpdatedAt,
	}
}

// GetSaga implements GET /api/v1/admin/modules/{module}/sagas/{saga}/{saga_id}.
func (s server) GetSaga(ctx context.Context, r GetSagaRequestObject) (GetSagaResponseObject, error) {
	m, err := s.module(r.Module)
	if err != nil {
		return nil, err
	}
	d, err := saga.Show(ctx, m.DB, r.Saga, r.SagaID)
	if err != nil {
		return nil, err
	}
	w := wireSaga(d.Info)
	out := GetSaga200JSONResponse{
		Name: w.Name, ID: w.ID, State: w.State, Step: w.Step, Attempts: w.Attempts, Cause: w.Cause, Error: w.Error, DueAt: w.DueAt,
		Deadline: w.Deadline, CreatedAt: w.CreatedAt, UpdatedAt: w.UpdatedAt,
		Plan: append([]string{}, d.Plan...), Done: int64(d.Done), Data: string(d.Data), History: make([]SagaEvent, len(d.History)),
	}
	for i, e := range d.History {
		out.History[i] = SagaEvent{
			Kind: e.Kind, Step: rest.Optional(e.Step), Attempts: rest.Optional(int64(e.Attempts)), Error: rest.Optional(e.Error), BeganAt: e.Began,
			EndedAt: rest.Optional(e.Ended),
		}
	}
	return out, nil
}

// RetrySaga implements POST /api/v1/admin/modules/{module}/sagas/{saga}/{saga_id}/retry.
func (s server) RetrySaga(ctx context.Context, r RetrySagaRequestObject) (RetrySagaResponseObject, error) {
	m, err := s.module(r.Module)
	if err != nil {
		return nil, err
	}
	o, err := m.RetrySaga(ctx, r.Saga, r.SagaID)
	return RetrySaga200JSONResponse(outcome(o)), err
}

// CompensateSaga implements POST /api/v1/admin/modules/{module}/sagas/{saga}/{saga_id}/compensate.
func (s server) CompensateSaga(ctx context.Context, r CompensateSagaRequestObject) (CompensateSagaResponseObject, error) {
	m, err := s.module(r.Module)
	if err != nil {
		return nil, err
	}
	o, err := m.CompensateSaga(ctx, r.Saga, r.SagaID)
	return CompensateSaga200JSONResponse(outcome(o)), err
}

// RetrySagas implements POST /api/v1/admin/modules/{module}/sagas/retry.
func (s server) RetrySagas(ctx context.Context, r RetrySagasRequestObject) (RetrySagasResponseObject, error) {
	m, err := s.module(r.Module)
	if err != nil {
		return nil, err
	}
	b := r.Body
	o, err := m.RetrySagas(ctx, saga.Filter{
		Name: rest.Deref(b.Name), State: saga.State(rest.Deref(b.State)), After: rest.Deref(b.Since), Before: rest.Deref(b.Until), Limit: int(rest.Deref(b.Limit)),
	}, repair.Bulk{DryRun: rest.Deref(b.DryRun), All: rest.Deref(b.All)})
	return RetrySagas200JSONResponse(outcome(o)), err
}
