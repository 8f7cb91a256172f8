// Package process runs sitesync as operators do, for tests, the demo and the benchmarks: built from this module, as a
// process, with presets in a folder and its log on standard error.
//
//	binary, err := process.Build(ctx, dir)
//
// err = process.Presets{Sites: map[string]process.Site{"gdrive": {Credentials: key, Root:
// "/SHOW/projects"}}}.Write(dir)
//
//	d, err := process.Start(process.Options{Binary: binary, Presets: dir, Mongo: uri, Database: "avalon"})
//	_, err = d.Wait(ctx, process.Message("change stream open"))
//	err = d.Stop()
package process
