# docker build -t sitesync .
FROM golang:1.26 AS build
WORKDIR /src
# The modules change less often than the code, so they have a layer of their own.
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o /sitesync .

# No shell, no libc; has the CA certificates that Google and a MongoDB with TLS need. The user is 65532.
FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /sitesync /sitesync
ENTRYPOINT ["/sitesync"]
CMD ["run"]
