ls
ls -la
ls -lah /var/log
ls -lt | head -20
ls -1 src
ls -la ./src ./docs
ls --color=never
ls -R src
ls *.go
ls src/*.go
ls -d */
cat README.md
cat -n main.go
cat a.txt b.txt
cat package.json
cat /etc/os-release
cat /proc/cpuinfo
cat go.mod | head -5
head -n 50 main.go
head -20 main.go
head -c 200 data.bin
tail -n 100 app.log
tail -50 app.log
tail -f app.log
tail -n +10 f
sed -n '1,120p' main.go
sed -n 5p f
sed -n '10,$p' f
wc -l main.go
wc -l src/*.go
cat f | wc -l
grep -rn TODO .
grep -rn "func main" --include='*.go' .
grep -i error app.log
grep -E 'foo|bar' f
grep -v '^#' conf
grep -c x f
grep -A3 -B3 panic app.log
grep -rl useState src
grep -n "hello world" README.md | head
grep -oE '[0-9]+' f | sort | uniq -c | sort -rn | head -10
rg foo
rg -n "type Server" -g '*.go'
rg -l TODO src
rg --files
rg --files | wc -l
rg -i -C3 error logs
rg -uu needle
rg --type go 'func New'
find . -name '*.go'
find . -type f -name "*.md" -not -path "./node_modules/*"
find . -maxdepth 2 -type d
find src -name "*.ts" | head -50
find . -type f -size +10M
find . -mtime -1 -type f -print
find . -name '*.go' | wc -l
find . \( -name a -o -name b \) -print0
find / -name passwd 2>/dev/null
find . ! -name '*.js' -type f
git status
git status --short
git status -sb
git log
git log --oneline
git log --oneline -10
git log -5
git log -n 3 --stat
git log -p -2 main.go
git log --graph --oneline --all --decorate
git log --since='2 weeks ago' --author=dana
git log --format='%h %an %s' -20
git log main..feature --oneline
git log --follow -- src/main.go
git diff
git diff --stat
git diff HEAD~1
git diff main...feature
git diff --cached
git diff --name-only HEAD
git diff HEAD~3 -- src
git show
git show HEAD
git show HEAD:main.go
git show --stat HEAD~2
git show --name-only abc123
git branch
git branch -a
git branch -vv
git branch --show-current
git remote -v
git tag
git tag -l 'v1.*'
git rev-parse HEAD
git rev-parse --abbrev-ref HEAD
git rev-parse --show-toplevel
git ls-files
git ls-files '*.go' | wc -l
git ls-tree -r HEAD --name-only
git blame main.go
git blame -L 10,20 main.go
git describe --tags
git stash list
git reflog
git shortlog -sn HEAD
git rev-list --count HEAD
git cat-file -p HEAD
git merge-base main feature
git --version
git --no-pager log -3
pwd
cd src && ls
cd /srv/app && git status
cd .. && pwd
whoami
id
hostname
uname -a
uname -r
date
date +%Y-%m-%d
date -u +%FT%TZ
date -d yesterday +%F
uptime
df -h
df -h /
du -sh .
du -sh src docs
du -h --max-depth=1 | sort -h
free -m
ps aux
ps -ef
ps aux | grep nginx
ps aux --sort=-%mem | head
ss -tlnp
netstat -tulpn
lscpu
nproc
lsblk
which python3
which go node
type ls
command -v docker
python3 --version
node --version
java --version
echo hello
echo "done"
echo "it's fine"
echo -n x
printf '%s\n' a b
printf 'hello\n'
stat main.go
stat -c '%s %n' f
file bin/app
tree -L 2
tree -L 2 -I node_modules
sort names.txt
sort -u names.txt
sort -t, -k2 -n data.csv
uniq -c sorted.txt
cut -d, -f1,3 data.csv
cut -d: -f1 /etc/passwd
tr a-z A-Z
cat f | tr -d '\r'
cat f | tr '[:upper:]' '[:lower:]'
diff a.txt b.txt
diff -u a.txt b.txt
diff -r dir1 dir2
cmp a b
comm -12 a b
md5sum f
sha256sum dist/app
base64 -d f
xxd f | head
od -c f | head
hexdump -C f | head -5
strings bin/app | grep version
jq . package.json
jq '.dependencies | keys' package.json
jq -r '.items[].name' f.json
cat f.json | jq '.[0]'
cat data.csv | column -t -s,
awk --version
basename /a/b/c.txt
dirname /a/b/c.txt
realpath .
readlink -f bin/app
seq 1 10
nl f
rev f
tac app.log | head
paste a b
ls -la && cat README.md
ls missing || echo none
ls > /dev/null
grep -q x f && echo yes
cat f 2>/dev/null | head -3
ls 2>&1 | head
true
cat < input.txt
! grep -q x f
ls; pwd; whoami
ls # with a comment
