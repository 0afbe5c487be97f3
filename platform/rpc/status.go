package rpc

import (
	"context"
	"errors"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"cleave/platform/fault"
)

// domain names Cleave as the authority for the reasons in ErrorInfo
// (google.rpc.ErrorInfo, AIP-193).
const domain = "cleave"

var codeOf = map[fault.Kind]codes.Code{
	fault.Internal:             codes.Internal,
	fault.Invalid:              codes.InvalidArgument,
	fault.Unauthenticated:      codes.Unauthenticated,
	fault.Forbidden:            codes.PermissionDenied,
	fault.NotFound:             codes.NotFound,
	fault.Conflict:             codes.Aborted,
	fault.Stale:                codes.Aborted,
	fault.TooLarge:             codes.OutOfRange,
	fault.Unsupported:          codes.InvalidArgument,
	fault.Unprocessable:        codes.FailedPrecondition,
	fault.PreconditionRequired: codes.FailedPrecondition,
	fault.Exhausted:            codes.ResourceExhausted,
	fault.Unavailable:          codes.Unavailable,
	fault.Timeout:              codes.DeadlineExceeded,
	fault.Canceled:             codes.Canceled,
}

// kindOf reads the code of a peer that sent no ErrorInfo of ours: the runtime
// itself, a proxy, or another implementation.
var kindOf = map[codes.Code]fault.Kind{
	codes.InvalidArgument:    fault.Invalid,
	codes.Unauthenticated:    fault.Unauthenticated,
	codes.PermissionDenied:   fault.Forbidden,
	codes.NotFound:           fault.NotFound,
	codes.AlreadyExists:      fault.Conflict,
	codes.Aborted:            fault.Conflict,
	codes.OutOfRange:         fault.Invalid,
	codes.FailedPrecondition: fault.Unprocessable,
	codes.ResourceExhausted:  fault.Exhausted,
	codes.Unavailable:        fault.Unavailable,
	codes.DeadlineExceeded:   fault.Timeout,
	codes.Canceled:           fault.Canceled,
}

// Status is what the far side may see of err: the fault's kind, code, message
// and fields, and nothing of its cause.
func Status(err error) error {
	f := fault.From(err)
	s := status.New(codeOf[f.Kind], f.Message)
	info := &errdetails.ErrorInfo{Domain: domain, Reason: f.Code, Metadata: map[string]string{"kind": f.Kind.String()}}
	violations := &errdetails.BadRequest{}
	for _, v := range f.Fields {
		violations.FieldViolations = append(violations.FieldViolations, &errdetails.BadRequest_FieldViolation{
			Field: v.Path, Reason: v.Code, Description: v.Message,
		})
	}
	detailed, derr := s.WithDetails(info)
	if derr == nil && len(violations.FieldViolations) > 0 {
		detailed, derr = detailed.WithDetails(violations)
	}
	if derr != nil {
		return s.Err()
	}
	return detailed.Err()
}

// fromStatus is the fault that a call's error means to the caller. What the
// runtime itself says (a refused connection, an unknown method) keeps its text
// as the cause only.
func fromStatus(method string, err error) error {
	if err == nil {
		return nil
	}
	s, ok := status.FromError(err)
	if !ok {
		return fault.From(err)
	}
	var f *fault.Error
	for _, d := range s.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			if d.GetDomain() == domain {
				f = fault.New(fault.ParseKind(d.GetMetadata()["kind"]), d.GetReason(), "%s", s.Message())
			}
		case *errdetails.BadRequest:
			if f == nil {
				continue
			}
			for _, v := range d.GetFieldViolations() {
				f = f.With(fault.Field{Path: v.GetField(), Code: v.GetReason(), Message: v.GetDescription()})
			}
		}
	}
	text := s.Message()
	if f == nil {
		kind := kindOf[s.Code()]
		f = fault.New(kind, "", "%s", unclassified[kind])
		switch kind { // each transport has words of its own for a context that has ended
		case fault.Timeout:
			text = context.DeadlineExceeded.Error()
		case fault.Canceled:
			text = context.Canceled.Error()
		}
	}
	return f.Wrap(errors.New(method + ": " + s.Code().String() + ": " + text))
}

// unclassified is the text for a status that names no fault; its own text may
// hold addresses and other internals.
var unclassified = map[fault.Kind]string{
	fault.Internal:        "internal error",
	fault.Invalid:         "the request was refused as invalid",
	fault.Unauthenticated: "not authenticated",
	fault.Forbidden:       "not allowed",
	fault.NotFound:        "not found",
	fault.Conflict:        "conflict",
	fault.Unprocessable:   "the request was refused",
	fault.Exhausted:       "too many or too large requests",
	fault.Unavailable:     "a module that is needed is unavailable",
	fault.Timeout:         "the deadline passed before the work was done",
	fault.Canceled:        "the caller gave up",
}
