package api

import (
	"context"
	"time"

	"cleave/platform/rest"
)

// Host moves the modules and edges of a process.
type Host interface {
	// Process tells where they are, with a version that changes with each move.
	Process() (p Process, version int64)
	// SetEdge and SetModule refuse with a Stale fault when something has moved since version.
	SetEdge(ctx context.Context, caller, callee, target string, version int64) error
	SetModule(ctx context.Context, name string, runs bool, requests string, version int64) error
	// Compare takes as long as d.
	Compare(ctx context.Context, name, with string, d time.Duration) (Comparison, error)
}

// GetProcess implements GET /api/v1/admin/process.
func (s server) GetProcess(context.Context, GetProcessRequestObject) (GetProcessResponseObject, error) {
	p, version := s.host.Process()
	return GetProcess200JSONResponse{Body: p, Headers: GetProcess200ResponseHeaders{ETag: rest.ETag(version)}}, nil
}

// PlaceModule implements PUT /api/v1/admin/process/modules/{placed_module}.
func (s server) PlaceModule(ctx context.Context, r PlaceModuleRequestObject) (PlaceModuleResponseObject, error) {
	version, err := rest.ParseIfMatch(r.Params.IfMatch)
	if err == nil {
		err = s.host.SetModule(ctx, r.PlacedModule, r.Body.Runs, r.Body.Requests, version)
	}
	if err != nil {
		return nil, err
	}
	p, version := s.host.Process()
	return PlaceModule200JSONResponse{Body: p, Headers: PlaceModule200ResponseHeaders{ETag: rest.ETag(version)}}, nil
}

// SetEdge implements PUT /api/v1/admin/process/edges/{caller}/{callee}.
func (s server) SetEdge(ctx context.Context, r SetEdgeRequestObject) (SetEdgeResponseObject, error) {
	version, err := rest.ParseIfMatch(r.Params.IfMatch)
	if err == nil {
		err = s.host.SetEdge(ctx, r.Caller, r.Callee, r.Body.Target, version)
	}
	if err != nil {
		return nil, err
	}
	p, version := s.host.Process()
	return SetEdge200JSONResponse{Body: p, Headers: SetEdge200ResponseHeaders{ETag: rest.ETag(version)}}, nil
}

const defaultComparison = 2 // seconds

// CompareModule implements GET /api/v1/admin/process/modules/{placed_module}/comparison.
func (s server) CompareModule(ctx context.Context, r CompareModuleRequestObject) (CompareModuleResponseObject, error) {
	seconds := int32(defaultComparison)
	if r.Params.Seconds != nil {
		seconds = *r.Params.Seconds
	}
	c, err := s.host.Compare(ctx, r.PlacedModule, r.Params.With, time.Duration(seconds)*time.Second)
	return CompareModule200JSONResponse(c), err
}
