// Package gdrive is one site on Google Drive: credentials, folders, uploads, pacing, and the table that
// says what each of Google's errors means. It knows nothing of Mongo, representations or tries.
//
// What keeps a file from being there twice: names are not unique on Drive, so every file and folder is
// created with an id that was generated ahead. A create that is repeated because its answer was lost is
// answered 409 instead of making a second file.
package gdrive
