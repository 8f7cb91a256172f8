// Package drive is an emulator of Google Drive for tests, the demo and the
// benchmarks: an HTTP server on 127.0.0.1 that speaks the Drive v3 API well
// enough that Google's own Go client and rclone work against it unchanged.
//
// It has service accounts and users with their own My Drive, sharing and shared
// drives; an OAuth token endpoint that verifies assertions; the methods that an
// uploader needs (files generateIds, list, get, create, update, delete; drives
// list, get; about get) with multipart and resumable uploads; Google's limits
// and error bodies; and faults, latency and limits that a test sets from Go or
// over HTTP (see Server.control for the control endpoint). Every request is
// checked against the API description that ships with Google's Go client; one
// that the description does not allow is answered 400 and, with StartTest,
// fails the test that made it. Contents are kept on disk.
//
// Requests have kinds, by which they are counted and faults are aimed:
//
//	token
//	files.generateIds  files.list  files.get  files.download  files.delete
//	files.create  files.create.multipart  files.create.media  files.create.resumable
//	files.update  files.update.multipart  files.update.media  files.update.resumable
//	upload.put  upload.status
//	drives.list  drives.get  about.get
//
// files.create and files.update alone are requests without content,
// *.resumable starts a session, upload.put sends data to it and upload.status
// asks how much has arrived.
//
// What belongs here is Drive's behaviour. What does not: anything of sitesync.
//
// Where Google's documentation is silent, the emulator follows what is reported
// of the real service. Known to differ: no revisions, permissions, changes,
// comments, copies, exports and batches (501 and a violation); no fullText
// search; the scope drive.file sees everything; only MD5 of the
// checksums; HTTP/1.1 only; session URIs are good without a token.
//
// Its tests run clients of others against it: Google's
// for Go and for Python, and rclone. The last two come from PyPI.
package drive
