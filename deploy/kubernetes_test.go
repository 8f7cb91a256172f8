package deploy_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
)

// manifest reads a manifest into its type of Kubernetes' API. A field that this does not have is an error.
func manifest[T any](t *testing.T, name, group, kind string) T {
	t.Helper()
	var object T
	name = filepath.Join("kubernetes", name)
	if !strings.Contains("\n"+read(t, name), "\napiVersion: "+group+"\nkind: "+kind+"\n") {
		t.Errorf("%s is no %s of %s", name, kind, group)
	}
	decode(t, name, &object)
	return object
}

func TestKubernetes(t *testing.T) {
	namespace := manifest[corev1.Namespace](t, "namespace.yaml", "v1", "Namespace")
	presets := manifest[corev1.ConfigMap](t, "presets.yaml", "v1", "ConfigMap")
	deployment := manifest[appsv1.Deployment](t, "deployment.yaml", "apps/v1", "Deployment")
	disruption := manifest[policyv1.PodDisruptionBudget](t, "disruption.yaml", "policy/v1", "PodDisruptionBudget")
	network := manifest[networkingv1.NetworkPolicy](t, "network.yaml", "networking.k8s.io/v1", "NetworkPolicy")
	pod := deployment.Spec.Template.Spec
	if len(pod.Containers) != 1 {
		t.Fatalf("%d containers", len(pod.Containers))
	}
	c := pod.Containers[0]

	// All that select pods select these.
	labels := deployment.Spec.Template.Labels
	for what, selector := range map[string]map[string]string{"deployment": deployment.Spec.Selector.MatchLabels,
		"disruption budget": disruption.Spec.Selector.MatchLabels,
		"network policy":    network.Spec.PodSelector.MatchLabels,
		"spread":            pod.TopologySpreadConstraints[0].LabelSelector.MatchLabels} {
		for k, v := range selector {
			if labels[k] != v {
				t.Errorf("the %s selects %s=%s, the pods have %q", what, k, v, labels[k])
			}
		}
		if len(selector) == 0 {
			t.Errorf("the %s selects everything", what)
		}
	}

	// One stands by, also when nodes are drained or the image is changed.
	if *deployment.Spec.Replicas != 2 || disruption.Spec.MinAvailable.IntValue() != 1 ||
		deployment.Spec.Strategy.RollingUpdate.MaxUnavailable.IntValue() != 0 {
		t.Error("there must be two, of which one is always there")
	}

	// Nothing that it does not need.
	p, s := pod.SecurityContext, c.SecurityContext
	if !*p.RunAsNonRoot || *p.RunAsUser == 0 || *p.RunAsGroup == 0 ||
		p.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault ||
		*s.AllowPrivilegeEscalation ||
		!*s.ReadOnlyRootFilesystem ||
		!slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) ||
		*pod.AutomountServiceAccountToken {
		t.Error("it has rights that it does not need")
	}

	run := process{
		args:   c.Args,
		env:    map[string]string{},
		stop:   time.Duration(*pod.TerminationGracePeriodSeconds) * time.Second,
		memory: c.Resources.Limits.Memory().Value(),
	}
	for _, e := range c.Env {
		run.env[e.Name] = e.Value
	}
	files, mounted := map[string]string{}, map[string]corev1.VolumeMount{}
	for _, m := range c.VolumeMounts {
		if !m.ReadOnly {
			t.Errorf("%s can be written to", m.MountPath)
		}
		mounted[m.Name] = m
		run.mounts = append(run.mounts, m.MountPath)
	}
	volumes := map[string]corev1.Volume{}
	for _, v := range pod.Volumes {
		volumes[v.Name] = v
		at := mounted[v.Name].MountPath + "/"
		switch {
		case v.ConfigMap != nil:
			if v.ConfigMap.Name != presets.Name {
				t.Errorf("volume %s is of %s, not %s", v.Name, v.ConfigMap.Name, presets.Name)
			}
			for name, text := range presets.Data {
				files[at+name] = text
			}
		case v.Secret != nil:
			// Readable for its group only, which is fsGroup's.
			if *v.Secret.DefaultMode != 0o440 || p.FSGroup == nil {
				t.Errorf("volume %s has the mode %o, fsGroup is %v", v.Name, *v.Secret.DefaultMode, p.FSGroup)
			}
			command := regexp.MustCompile(`(?s)kubectl -n (\S+) create secret generic (\S+)(.*?)\n` + "```").
				FindStringSubmatch(read(t, "README.md"))
			if command == nil || command[1] != namespace.Name || command[2] != v.Secret.SecretName {
				t.Fatalf("README.md makes the secret by %q", command)
			}
			for _, f := range regexp.MustCompile(`--from-file=(\S+?)=`).FindAllStringSubmatch(command[3], -1) {
				files[at+f[1]] = map[string]string{"mongo-uri": mongoURI, "gdrive-key.json": account(t)}[f[1]]
			}
		case v.NFS != nil:
			if !v.NFS.ReadOnly {
				t.Errorf("volume %s can be written to", v.Name)
			}
		default:
			t.Errorf("volume %s is of an unknown kind", v.Name)
		}
	}
	sameKeys(t, "volumes and mounts", volumes, mounted)
	cfg := run.check(t, files)
	run.localRoot(t, cfg)
	if request := c.Resources.Requests.Memory().Value(); request < usualMemory || request > run.memory {
		t.Errorf("%d bytes of memory are requested", request)
	}

	// Probes, metrics and the network policy go where it listens.
	port := c.Ports[0]
	if want := "0.0.0.0:" + deployment.Spec.Template.Annotations["prometheus.io/port"]; cfg.Listen != want ||
		!strings.HasSuffix(want, ":9105") ||
		port.ContainerPort != 9105 {
		t.Errorf("it listens at %s, port %d, metrics %s", cfg.Listen, port.ContainerPort, want)
	}
	if got := network.Spec.Ingress[0].Ports[0].Port.StrVal; got != port.Name {
		t.Errorf("the network policy lets port %s in, not %s", got, port.Name)
	}
	for path, probe := range map[string]*corev1.Probe{"/healthz": c.LivenessProbe, "/readyz": c.ReadinessProbe} {
		if probe.HTTPGet.Path != path || probe.HTTPGet.Port.StrVal != port.Name {
			t.Errorf("a probe asks for %v, want %s", probe.HTTPGet, path)
		}
		if probe.TimeoutSeconds < 2 { // the database is asked for 0.8 s
			t.Errorf("the probe of %s waits for %d s", path, probe.TimeoutSeconds)
		}
	}
}

// The kustomization has all manifests.
func TestKustomization(t *testing.T) {
	var k struct {
		APIVersion string   `json:"apiVersion"`
		Kind       string   `json:"kind"`
		Namespace  string   `json:"namespace"`
		Resources  []string `json:"resources"`
		Images     []struct {
			Name    string `json:"name"`
			NewName string `json:"newName"`
			NewTag  string `json:"newTag"`
		} `json:"images"`
	}
	decode(t, "kubernetes/kustomization.yaml", &k)
	entries, err := os.ReadDir("kubernetes")
	if err != nil {
		t.Fatal(err)
	}
	var there []string
	for _, e := range entries {
		if e.Name() != "kustomization.yaml" {
			there = append(there, e.Name())
		}
	}
	slices.Sort(k.Resources)
	if !slices.Equal(k.Resources, there) {
		t.Errorf("it has %q, there are %q", k.Resources, there)
	}
	if ns := manifest[corev1.Namespace](t, "namespace.yaml", "v1", "Namespace"); k.Namespace != ns.Name {
		t.Errorf("all goes into namespace %s, not %s", k.Namespace, ns.Name)
	}
	deployment := manifest[appsv1.Deployment](t, "deployment.yaml", "apps/v1", "Deployment")
	image := deployment.Spec.Template.Spec.Containers[0].Image
	if len(k.Images) != 1 || k.Images[0].Name != image {
		t.Errorf("it replaces images %+v, the deployment has %s", k.Images, image)
	}
}
