# syntax=docker/dockerfile:1
#
#   docker build --build-arg VERSION=1.0.0 -t cleave .
#   docker run --read-only -v cleave:/data -p 8080:8080 cleave

FROM --platform=$BUILDPLATFORM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY cmd cmd
COPY modules modules
COPY platform platform
ARG TARGETOS TARGETARCH VERSION=dev
# nomsgpack leaves out a gin binding that nothing uses, and its 6 MB.
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -tags nomsgpack -ldflags "-s -w -X main.version=$VERSION" -o /out/app ./cmd/app \
    && mkdir /out/data

FROM scratch
# For mail servers, databases and collectors reached over TLS.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build --chown=65532:65532 /out/data /data
COPY --from=build /out/app /app
USER 65532:65532
# In a container the loopback interface is nobody's. SQLite's sorting may need a temporary file, and / is not writable.
ENV CLEAVE_HTTP_ADDR=:8080 CLEAVE_DATA_DIR=/data TMPDIR=/data
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --start-interval=1s CMD ["/app", "healthcheck"]
ENTRYPOINT ["/app"]
CMD ["serve"]
