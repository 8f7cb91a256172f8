// Package daemon runs sitesync as operators do, for tests, the demo and the benchmarks: built from this
// module, as a process of its own, with presets in a folder and its log on standard error.
//
//	binary, err := daemon.Build(ctx, dir)
//	err = daemon.Presets{Sites: map[string]daemon.Site{"gdrive": {Credentials: key, Root: "/SHOW/projects"}}}.Write(dir)
//	d, err := daemon.Start(daemon.Options{Binary: binary, Presets: dir, Mongo: uri, Database: "avalon"})
//	_, err = d.Wait(ctx, daemon.Message("change stream open"))
//	err = d.Stop()
package daemon
