// Package deploy holds what runs Count elsewhere than on a developer's machine:
// the image, the demo's load balancer and Prometheus, the systemd unit, the
// Kubernetes manifests and an example configuration. The tests hold them
// against the node's settings and routes and against one another.
package deploy
