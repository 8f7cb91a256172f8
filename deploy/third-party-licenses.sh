#!/bin/sh
# Collects in third_party_licenses what the licenses of the modules require a release to include. The program for Linux
# has every module that those for macOS and Windows have. go-licenses leaves out Go itself and the notices of the driver.
set -eu
cd "$(dirname "$0")/.."
out=third_party_licenses
GOOS=linux GOARCH=amd64 go-licenses save . --save_path="$out" --force --ignore=sitesync
mkdir "$out/go"
cp "$(go env GOROOT)/LICENSE" "$(go env GOROOT)/PATENTS" "$out/go/"
driver=go.mongodb.org/mongo-driver/v2
cp "$(go list -m -f '{{.Dir}}' "$driver")/THIRD-PARTY-NOTICES" "$out/$driver/"
