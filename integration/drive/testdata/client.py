"""Uses a Drive by Google's client for Python, as a program would, and prints as JSON what it saw.

    client.py KEYFILE SHAREDDRIVE

It calls Google's hosts; HTTPS_PROXY and HTTPLIB2_CA_CERTS lead it elsewhere.
"""

import io
import json
import sys

from google.oauth2 import service_account
from google_auth_httplib2 import AuthorizedHttp
from googleapiclient.discovery import build
from googleapiclient.errors import HttpError
from googleapiclient.http import MediaIoBaseDownload, MediaIoBaseUpload, build_http

FOLDER = "application/vnd.google-apps.folder"
SHORTCUT = "application/vnd.google-apps.shortcut"
CHUNK = 256 * 1024

keyfile, show = sys.argv[1:]
credentials = service_account.Credentials.from_service_account_file(
    keyfile, scopes=["https://www.googleapis.com/auth/drive"])
drive = build("drive", "v3", http=AuthorizedHttp(credentials, http=build_http()), cache_discovery=False)
files = drive.files()
seen = {}


def media(data, **options):
    return MediaIoBaseUpload(io.BytesIO(data), mimetype="image/x-exr", **options)


def create(name, parent, **arguments):
    body = {"name": name, "parents": [parent], **arguments.pop("body", {})}
    return files.create(body=body, supportsAllDrives=True, fields="id,md5Checksum,size,mimeType", **arguments)


def refusal(request):
    try:
        request.execute()
    except HttpError as e:
        details = e.error_details
        return [e.resp.status, details[0]["reason"] if details and not isinstance(details, str) else ""]
    return [200, ""]


def upload(request):
    """Sends an upload in chunks, and counts what each answer says has arrived."""
    progress, answer = [], None
    while answer is None:
        status, answer = request.next_chunk()
        progress.append(status.resumable_progress if status else answer["size"])
    return answer, progress


folder = create("from python", show, body={"mimeType": FOLDER}).execute()["id"]
seen["multipart"] = create("it's small.exr", folder, media_body=media(b"abc")).execute()["md5Checksum"]
seen["empty"] = create("empty.exr", folder, media_body=media(b"")).execute()["size"]
data = bytes(range(256)) * 1024 * 2 + b"end"
answer, seen["progress"] = upload(create("large.exr", folder, media_body=media(data, chunksize=CHUNK, resumable=True)))
large = answer["id"]
seen["large"] = answer["md5Checksum"]
seen["emptyInASession"] = upload(create("none.exr", folder, media_body=media(b"", chunksize=CHUNK, resumable=True)))[0]["size"]

got = io.BytesIO()
download = MediaIoBaseDownload(got, files.get_media(fileId=large, supportsAllDrives=True), chunksize=100000)
done = False
while not done:
    _, done = download.next_chunk()
seen["readBack"] = got.getvalue() == data

names, request = [], files.list(q="'%s' in parents and trashed = false" % folder, pageSize=2, orderBy="name", supportsAllDrives=True,
                                includeItemsFromAllDrives=True, fields="nextPageToken,files(id,name)")
while request is not None:
    page = request.execute()
    names.append([f["name"] for f in page["files"]])
    request = files.list_next(request, page)
seen["pages"] = names
seen["byName"] = len(files.list(q="name = 'IT\\'S SMALL.EXR'", corpora="drive", driveId=show, supportsAllDrives=True,
                                includeItemsFromAllDrives=True).execute()["files"])

seen["updated"] = files.update(fileId=large, body={"name": "renamed.exr"}, media_body=media(b"new"), supportsAllDrives=True,
                               fields="name,md5Checksum").execute()
moved = create("moved", show, body={"mimeType": FOLDER}).execute()["id"]
seen["moved"] = files.update(fileId=large, addParents=moved, removeParents=folder, supportsAllDrives=True,
                             fields="parents").execute()["parents"] == [moved]
reserved = files.generateIds(count=1, space="drive", type="files").execute()["ids"][0]
seen["reserved"] = create("reserved", folder, body={"id": reserved}, media_body=media(b"x")).execute()["id"] == reserved
seen["again"] = refusal(create("reserved", folder, body={"id": reserved}, media_body=media(b"x")))
link = create("link", show, body={"mimeType": SHORTCUT, "shortcutDetails": {"targetId": folder}}).execute()["id"]
seen["shortcut"] = files.get(fileId=link, supportsAllDrives=True, fields="shortcutDetails").execute()["shortcutDetails"]["targetMimeType"]
seen["missing"] = refusal(files.get(fileId="1nothing", supportsAllDrives=True))
seen["noStorage"] = refusal(files.create(body={"name": "mine"}, media_body=media(b"x")))
seen["blocked"] = refusal(create("blocked.exr", folder, media_body=media(b"x")))
seen["drives"] = [d["name"] for d in drive.drives().list().execute()["drives"]]
seen["user"] = drive.about().get(fields="user").execute()["user"]["emailAddress"]
files.update(fileId=folder, body={"trashed": True}, supportsAllDrives=True).execute()
seen["trashedWithIt"] = files.get(fileId=reserved, supportsAllDrives=True, fields="trashed").execute()["trashed"]
files.delete(fileId=folder, supportsAllDrives=True).execute()
seen["deletedWithIt"] = refusal(files.get(fileId=reserved, supportsAllDrives=True))
print(json.dumps(seen))
