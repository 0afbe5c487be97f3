package traffic

import (
	"context"
	"slices"

	"google.golang.org/grpc"
)

// Registrar registers a module's services at to, so that what a method does is
// counted as its own: whoever called it is in another module, and perhaps in
// another process.
func (r *Recorder) Registrar(module string, to grpc.ServiceRegistrar) grpc.ServiceRegistrar {
	return registrar{r, module, to}
}

type registrar struct {
	recorder *Recorder
	module   string
	to       grpc.ServiceRegistrar
}

// RegisterService implements grpc.ServiceRegistrar.
func (r registrar) RegisterService(d *grpc.ServiceDesc, impl any) {
	own := *d
	own.Methods = slices.Clone(d.Methods)
	for i, m := range d.Methods {
		source := r.recorder.Method(r.module, "/"+d.ServiceName+"/"+m.MethodName)
		own.Methods[i].Handler = func(srv any, ctx context.Context, dec func(any) error, in grpc.UnaryServerInterceptor) (any, error) {
			source.Began()
			return m.Handler(srv, With(ctx, source), dec, in)
		}
	}
	r.to.RegisterService(&own, impl)
}
