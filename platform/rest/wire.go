package rest

// Deref is what p points to, and the zero value for nil, which is how the wire leaves a value out.
func Deref[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// Optional is nil for the zero value, which the wire leaves out.
func Optional[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}
