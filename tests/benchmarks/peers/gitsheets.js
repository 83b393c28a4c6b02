// Saves gitsheets records, each as one commit: JSON lines in, an empty line out when one is done.
// The first argument is the folder in which `npm install gitsheets` was run.
const readline = require('readline');
const { createRequire } = require('module');
const Repository = createRequire(`${process.argv[2]}/`)('gitsheets/lib/Repository.js');

(async () => {
  const repository = await Repository.getFromEnvironment({ working: false });
  const git = await repository.getGit();
  const sheet = await repository.openSheet('sessions');
  let parent = (await git.revParse('HEAD')).trim();
  process.stdout.write('\n');
  for await (const line of readline.createInterface({ input: process.stdin })) {
    await sheet.upsert(JSON.parse(line));
    const tree = await sheet.workspace.root.write();
    parent = (await git.commitTree({ p: parent, m: 'Update session' }, tree)).trim();
    await git.updateRef('refs/heads/main', parent);
    process.stdout.write('\n');
  }
})();
