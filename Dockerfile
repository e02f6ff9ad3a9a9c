# The fleet's worker as a long-lived process, for ECS or Kubernetes. The image
# holds one static program and the certificates of public authorities.
#
#   docker build -t sluice .
#   docker run -e AWS_REGION=eu-central-1 sluice worker sim data
#
# SIGTERM (docker stop) ends it softly: calls under way are finished and kept,
# which takes at most the spec's total timeout and some seconds. Give it as long:
# docker stop -t 90, terminationGracePeriodSeconds: 90.
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '-s -w' -o /sluice ./cmd/sluice

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /sluice /sluice
ENV SLUICE_ON=aws SLUICE_HOME=/tmp/sluice
USER 65534:65534
STOPSIGNAL SIGTERM
ENTRYPOINT ["/sluice"]
