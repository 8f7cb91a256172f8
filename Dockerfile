# docker build -t sitesync .
#
# The version of Go is that of the toolchain that the tests ran with. To pin the image by content too, write
# golang:VERSION@sha256:DIGEST; "docker buildx imagetools inspect golang:VERSION" shows the digest.
FROM --platform=$BUILDPLATFORM golang:1.26.8-bookworm AS build
ARG TARGETOS
ARG TARGETARCH
WORKDIR /src
COPY . .
# Only the modules that the program is made of are downloaded, not those of its tests. The caches outlive the build.
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -ldflags "-s -w" -o /sitesync .

# No shell, no libc. The CA certificates are needed for Google and for a MongoDB with TLS.
FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /src/LICENSE /LICENSE
COPY --from=build /sitesync /sitesync
USER 65532:65532
EXPOSE 9105
# With --listen off nothing can be asked: switch the check off too, by --no-healthcheck.
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s CMD ["/sitesync", "health"]
ENTRYPOINT ["/sitesync"]
CMD ["run"]
