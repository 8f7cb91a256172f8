// Package gdrive is one site on Google Drive: credentials, folders, uploads, pacing, and the table that
// says what each of Google's errors means. It knows nothing of Mongo, representations or tries.
//
// What keeps a file from being there twice: names are not unique on Drive, so every file and folder is
// created with an id that was generated ahead and stays reserved for the name until the create is known to
// have worked. A create that is repeated because its answer was lost, at once or by a later Put, is answered
// 409 instead of making a second file. Listings lag behind, so our own memory of what we made counts more.
//
// What keeps requests few: folders are remembered with what is in them. What is remembered is believed for
// a few minutes and then confirmed by a cheap request; an upload whose answer contradicts it (404, or "in
// the trash") has it confirmed at once and is done again.
package gdrive
