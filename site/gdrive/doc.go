// Package gdrive is the provider for Google Drive: credentials, folders, uploads, and the table of what Google's
// errors mean. It knows nothing of MongoDB, representations or tries.
//
// No file exists twice: names are not unique on Drive, so every file and folder is created with an id that was
// generated ahead and stays reserved for the name until the create is known to have worked. A create that is repeated
// because its answer was lost, at once or by a later Put, is answered 409 instead of making a second file. Listings
// lag, so the record of what we made counts more.
//
// Few requests: folders are cached with what is in them. The cache is valid for a few minutes and then confirmed by a
// cheap request; an upload whose answer contradicts it (404, or "in the trash") has it confirmed at once and is done
// again.
package gdrive
