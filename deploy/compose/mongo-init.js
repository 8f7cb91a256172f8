// Makes the replica set and the user of sitesync, with no more rights than it needs (docs/security.md). What is there
// already stays as it is, so it can run at each start.

const fs = require("fs");
const secret = (name) => fs.readFileSync("/run/secrets/" + name, "utf8").trim();
const host = process.env.MONGO_HOST + ":27017";

const [, user, password] = secret("mongo_uri").match(/^mongodb:\/\/([^:@/]+):([^@/]+)@/).map(decodeURIComponent);

// While the container makes its root user, nobody outside of it is let in.
function connect() {
  const uri = `mongodb://root:${encodeURIComponent(secret("mongo_root_password"))}@${host}/?directConnection=true`;
  for (let tries = 60; ; tries--) {
    try {
      return new Mongo(uri).getDB("admin");
    } catch (err) {
      if (tries === 0) throw err;
      sleep(1000);
    }
  }
}

const admin = connect();

let member = admin.adminCommand({ hello: 1 });
if (!member.setName) {
  admin.adminCommand({ replSetInitiate: { _id: "rs0", members: [{ _id: 0, host: host }] } });
}
while (!member.isWritablePrimary) {
  sleep(200);
  member = admin.adminCommand({ hello: 1 });
}

if (!admin.getRole("sitesync")) {
  admin.runCommand({
    "createRole": "sitesync",
    "privileges": [
      { "resource": { "db": "avalon", "collection": "" },
        "actions": ["find", "update", "listCollections", "changeStream", "createIndex", "listIndexes"] },
      { "resource": { "db": "sitesync", "collection": "" },
        "actions": ["find", "insert", "update", "remove", "createIndex"] }
    ],
    "roles": []
  });
}
if (!admin.getUser(user)) {
  admin.createUser({ user: user, pwd: password, roles: ["sitesync"] });
}
print(`replica set ${member.setName}, user ${user}`);
