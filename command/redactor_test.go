package command

import (
	"testing"
)

func TestRedactor(t *testing.T) {
	t.Parallel()
	var r redactor
	r.add("project", "Test")
	r.add("project", "A")
	r.add("project", "Häschen 2")
	r.add("path", "/mnt/Test/projects")
	r.host("mongo1.studio.example:27017")
	r.add("project", "Test")
	r.add("project", "")
	for _, test := range []struct{ text, want string }{
		{"project Test, A", "project project-1, project-2"},
		{"Test: Testing, aTest, TestA, Test_1 and Test.", "project-1: Testing, aTest, TestA, Test_1 and project-1."},
		{"Häschen 2 and Häschen 23", "project-3 and Häschen 23"},
		{"local_root /mnt/Test/projects", "local_root path-1"},
		{"mongodb://td:***@mongo1.studio.example:27017,mongo1.studio.example/?replicaSet=rs0",
			"mongodb://td:***@host-1,host-2/?replicaSet=rs0"},
		{`root "P:/projects": set local_root`, `root "path-2": set local_root`},
		{`open /mnt/secret: no such file`, `open path-3: no such file`},
		{`it is C:\shows\x (or \\server\share), read/write`, `it is path-4 (or path-5), read/write`},
		{"can be written to by sync@studio.example", "can be written to by account-1"},
		{"again /mnt/secret", "again path-3"},
	} {
		if got := r.redact(test.text); got != test.want {
			t.Errorf("%s\nbecomes %s\nwant    %s", test.text, got, test.want)
		}
	}
}
