package main

import (
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"

	"github.com/ringrun/ringrun/elastic/web/webtest"
)

// decode reads the manifest as an API server does that refuses unknown fields.
func decode(t *testing.T, text string) (secret corev1.Secret, service corev1.Service, job batchv1.Job) {
	t.Helper()
	docs := strings.Split(text, "\n---\n")
	if len(docs) != 3 {
		t.Fatalf("%d documents, want 3:\n%s", len(docs), text)
	}
	for i, into := range []any{&secret, &service, &job} {
		if err := yaml.UnmarshalStrict([]byte(docs[i]), into); err != nil {
			t.Fatalf("document %d: %v\n%s", i, err, docs[i])
		}
	}
	return secret, service, job
}

func TestManifest(t *testing.T) {
	s := newStage(t)
	text := s.ringrun("kubernetes", "-n", "20", "-image", "registry.example/train:1", "-namespace", "lab", "-cpu", "500m", "-memory", "2Gi",
		"-volume", "data:/data", "-checkpoint", "/data/saved", "/bin/My_Prog", "-lr", `0.1 "x": #y`).ends(0)
	secret, service, job := decode(t, text)
	if secret.Kind != "Secret" || service.Kind != "Service" || job.Kind != "Job" || job.APIVersion != "batch/v1" {
		t.Errorf("kinds: %s, %s, %s %s", secret.Kind, service.Kind, job.APIVersion, job.Kind)
	}
	if service.Spec.ClusterIP != "None" || !service.Spec.PublishNotReadyAddresses || len(service.Spec.Ports) != 2 {
		t.Errorf("service: %+v", service.Spec)
	}
	for _, p := range service.Spec.Ports {
		if errs := validation.IsValidPortName(p.Name); len(errs) > 0 {
			t.Errorf("port %s: %v", p.Name, errs)
		}
	}
	pod := job.Spec.Template.Spec
	if *job.Spec.Completions != 20 || *job.Spec.Parallelism != 20 || *job.Spec.CompletionMode != batchv1.IndexedCompletion ||
		*job.Spec.TTLSecondsAfterFinished != 86400 || pod.RestartPolicy != corev1.RestartPolicyOnFailure {
		t.Errorf("job: %+v", job.Spec)
	}
	for k, v := range service.Spec.Selector {
		if job.Spec.Template.Labels[k] != v {
			t.Errorf("the service does not find pods: they have %s=%s", k, job.Spec.Template.Labels[k])
		}
		if errs := append(validation.IsQualifiedName(k), validation.IsValidLabelValue(v)...); len(errs) > 0 {
			t.Errorf("label %s=%s: %v", k, v, errs)
		}
	}
	if service.Name != "my-prog" || pod.Subdomain != service.Name || job.Name != service.Name || job.Namespace != "lab" {
		t.Errorf("names: service %s, subdomain %s, job %s in %s", service.Name, pod.Subdomain, job.Name, job.Namespace)
	}
	if errs := validation.IsDNS1123Label(job.Name + "-19"); len(errs) > 0 {
		t.Errorf("host name of the last pod: %v", errs)
	}
	c := pod.Containers[0]
	if !slices.Equal(c.Command, []string{"/bin/My_Prog", "-lr", `0.1 "x": #y`}) || c.Image != "registry.example/train:1" {
		t.Errorf("%s runs %q", c.Image, c.Command)
	}
	if c.Resources.Requests.Cpu().MilliValue() != 500 || c.Resources.Limits.Memory().Value() != 2<<30 {
		t.Errorf("resources: %v", c.Resources)
	}
	if pod.Volumes[0].PersistentVolumeClaim.ClaimName != "data" || c.VolumeMounts[0].MountPath != "/data" {
		t.Errorf("volume: %+v at %+v", pod.Volumes, c.VolumeMounts)
	}
	env := map[string]corev1.EnvVar{}
	for _, v := range c.Env {
		env[v.Name] = v
	}
	from := env["RINGRUN_SECRET"].ValueFrom.SecretKeyRef
	if from.Name != secret.Name || len(secret.StringData[from.Key]) != 64 || strings.Count(text, secret.StringData[from.Key]) != 1 {
		t.Errorf("the secret is that of %+v, and stands there %d times", from, strings.Count(text, secret.StringData[from.Key]))
	}
	if p := strings.Split(env["RINGRUN_PEERS"].Value, ","); len(p) != 16 || p[15] != "my-prog-15.my-prog:29400" || env["RINGRUN_CHECKPOINT_DIR"].Value != "/data/saved" {
		t.Errorf("peers %v, checkpoints in %s", p, env["RINGRUN_CHECKPOINT_DIR"].Value)
	}
}

func TestManifestMistakes(t *testing.T) {
	s := newStage(t)
	for args, want := range map[string]string{
		"-n 2 -image i":              `kubernetes: no PROG`,
		"-n 2 prog":                  `kubernetes: no -image: which one has prog\?`,
		"-image i prog":              `kubernetes -n 0: at least 1 pod is needed`,
		"-n 2 -image i -name A prog": `"A" cannot be a name there`,
		"-n 2 -image i -name " + strings.Repeat("a", 54) + " prog": `cannot be a name there`,
		"-n 2 -image i 123":              `"" cannot be a name there`,
		"-n 2 -image i -cpu lots prog":   `-cpu lots: want a quantity`,
		"-n 2 -image i -memory 1G1 prog": `-memory 1G1: want a quantity`,
		"-n 2 -image i -min-n 3 prog":    `-min-n 3: want 1 to 2`,
		"-n 2 -image i -volume x prog":   `-volume x: want CLAIM:/DIR`,
		"-n 2 -image i -port 70000 prog": `-port 70000: want 1 to 65535`,
		"-n 2 -image i -codec tar prog":  `-codec tar: want raw, half, zstd`,
	} {
		s.ringrun(append([]string{"kubernetes"}, strings.Fields(args)...)...).ends(2, want)
	}
}

// freeAddrs are addresses of this host where nobody listened a moment ago.
func freeAddrs(t *testing.T, n int) (addrs []string) {
	t.Helper()
	first := webtest.FreePorts(t, n)
	for i := range n {
		addrs = append(addrs, fmt.Sprintf("127.0.0.1:%d", first+i))
	}
	return addrs
}

// What the manifest sets is what the library reads: three processes with the
// environment of the pods come together, and the first, killed and started anew,
// joins the two that are left.
func TestPods(t *testing.T) {
	s := newStage(t)
	_, _, job := decode(t, s.ringrun("kubernetes", "-n", "3", "-image", "i", "prog").ends(0))
	exe := s.dir + "/trainer"
	if out, err := exec.Command("go", "build", "-o", exe, "./testdata/trainer").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	addrs := freeAddrs(t, 3)
	port := addrs[0][strings.LastIndex(addrs[0], ":")+1:]
	start := func(pod int) *launcher {
		local := strings.NewReplacer("[$(POD_IP)]:29400", addrs[pod], "prog-0.prog:29400", addrs[0], "prog-1.prog:29400", addrs[1],
			"prog-2.prog:29400", addrs[2], "prog-0.prog", "127.0.0.1", "29400", port)
		l := *s
		for _, v := range job.Spec.Template.Spec.Containers[0].Env {
			if v.ValueFrom == nil {
				l.env = append(l.env, v.Name+"="+local.Replace(v.Value))
			}
		}
		l.env = append(l.env, "RINGRUN_SECRET="+strings.Repeat("5a", 16), "JOB_COMPLETION_INDEX="+strconv.Itoa(pod), "RINGRUN_LOG=info")
		return l.start(exec.Command(exe))
	}
	pods := []*launcher{start(1), start(2)} // the first comes last
	first := start(0)
	for _, p := range append(pods, first) {
		p.until(1, `^step 21$`)
	}
	_ = first.cmd.Process.Kill()
	<-first.done
	before := len(pods[0].until(1, `^step \d+$`))
	again := start(0)
	again.until(1, `^step \d+$`)
	pods[0].until(before+2, `^step \d+$`)
	text, _ := again.output()
	if strings.Contains(text, "step 1\n") {
		t.Errorf("the first pod began anew, alone:\n%s", text)
	}
	for _, p := range append(pods, again) {
		_ = p.cmd.Process.Kill()
	}
}
