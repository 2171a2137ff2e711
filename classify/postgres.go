package classify

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"
	_ "unsafe" // for go:linkname

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
	_ "github.com/wasilibs/go-pgquery/parser" // brings pgModule
	"github.com/wasilibs/wazero-helpers/allocator"
)

// pgModule is PostgreSQL's own parser (libpg_query), compiled to WebAssembly.
//
// It is run here and not by the wrapper it comes with, because the wrapper
// cannot be trusted with hostile statements: the module's C stack has no
// guard, so that a few hundred nested subqueries overwrite its data in
// silence; a parse that then never ends cannot be stopped; and a broken
// instance goes back to its pool.
//
//go:linkname pgModule github.com/wasilibs/go-pgquery/internal/wasm.LibPGQuery
var pgModule []byte

var (
	errUnparsed = errors.New("it does not parse as PostgreSQL")
	errTooDeep  = errors.New("it is too large or nests too deep to parse")
	errTooSlow  = errors.New("parsing it took too long")
)

// postgres runs the parser. The zero value is ready; the module is compiled
// when the first statement comes (a second or two, 250 MB) and let go when
// none has come for idleUnload. It is safe for concurrent use; one statement
// is parsed at a time.
type postgres struct {
	mu       sync.Mutex
	runtime  wazero.Runtime
	code     wazero.CompiledModule
	inst     *pgInstance
	lastUsed time.Time
	unload   *time.Timer
}

// pgInstance is one module instance with a stack of its own.
type pgInstance struct {
	mod        api.Module
	stack, top uint32 // the C stack is [stack, top) and grows down
	used       int
}

// parse returns the parse tree as libpg_query's JSON. The text has no NUL
// and at most MaxSQL bytes.
func (p *postgres) parse(sql string) (tree []byte, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer func() {
		if r := recover(); r != nil {
			tree, err = nil, fmt.Errorf("%w: %v", errTooDeep, r)
		}
	}()
	if err := p.load(); err != nil {
		return nil, err
	}
	p.lastUsed = time.Now()
	if p.inst == nil {
		// No statement runs in this: its time is nobody's to use up.
		inst, err := p.instantiate(context.Background())
		if err != nil {
			return nil, err
		}
		p.inst = inst
	}
	inst := p.inst
	p.inst = nil // until it has shown that it is whole
	ctx, cancel := context.WithTimeout(context.Background(), parseTimeout)
	defer cancel()
	tree, err = inst.parse(ctx, sql)
	if inst.used++; (err == nil || errors.Is(err, errUnparsed)) && inst.used < instanceUses && inst.mod.Memory().Size() < instanceKeep {
		p.inst = inst
	} else {
		inst.mod.Close(context.Background())
	}
	if err != nil && ctx.Err() != nil {
		err = errTooSlow
	}
	return tree, err
}

// load compiles the module. The lock is held.
func (p *postgres) load() error {
	if p.runtime != nil {
		return nil
	}
	ctx := context.Background()
	rt := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().
		WithCoreFeatures(api.CoreFeaturesV2|experimental.CoreFeaturesThreads).
		WithMemoryLimitPages(pgMemoryPages).
		WithCloseOnContextDone(true))
	_, err := wasi_snapshot_preview1.Instantiate(ctx, rt)
	if err == nil {
		err = hostModule(ctx, rt)
	}
	if err == nil {
		p.code, err = rt.CompileModule(ctx, pgModule)
	}
	if err != nil {
		rt.Close(ctx)
		return err
	}
	// What compiling took is ten times what the code needs.
	debug.FreeOSMemory()
	p.runtime = rt
	p.unload = time.AfterFunc(idleUnload, p.idle)
	return nil
}

// idle lets the module go when no statement has come for a while.
func (p *postgres) idle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.runtime == nil {
		return
	}
	if rest := idleUnload - time.Since(p.lastUsed); rest > 0 {
		p.unload.Reset(rest)
		return
	}
	p.runtime.Close(context.Background())
	p.runtime, p.code, p.inst, p.unload = nil, nil, nil, nil
	debug.FreeOSMemory()
}

func (p *postgres) instantiate(ctx context.Context) (*pgInstance, error) {
	// No files, no environment, no real clock: the parser needs none.
	conf := wazero.NewModuleConfig().WithName("").WithStartFunctions("_initialize")
	// Outside of Go's heap: 256 MiB of reserved addresses would count as live.
	ctx = experimental.WithMemoryAllocator(ctx, allocator.NewNonMoving())
	mod, err := p.runtime.InstantiateModule(ctx, p.code, conf)
	if err != nil {
		return nil, err
	}
	inst := &pgInstance{mod: mod}
	if _, err = inst.call(ctx, "pg_query_init"); err == nil {
		var at uint64
		if at, err = inst.call(ctx, "malloc", pgStack); err == nil && at == 0 {
			err = errTooDeep
		}
		inst.stack, inst.top = uint32(at), uint32(at+pgStack)&^15
	}
	sp, ok := mod.ExportedGlobal("__stack_pointer").(api.MutableGlobal)
	if err != nil || !ok || !mod.Memory().Write(inst.stack, untouched[:]) {
		mod.Close(ctx)
		return nil, errors.Join(errTooDeep, err)
	}
	sp.Set(uint64(inst.top))
	return inst, nil
}

// untouched is what the guard at the end of the stack holds.
var untouched [pgStackGuard]byte

// call calls an exported function. A trap is an error.
func (i *pgInstance) call(ctx context.Context, name string, args ...uint64) (uint64, error) {
	f := i.mod.ExportedFunction(name)
	if f == nil {
		return 0, errors.New("the parser has no function " + name)
	}
	res, err := f.Call(ctx, args...)
	if err != nil || len(res) == 0 {
		return 0, err
	}
	return res[0], nil
}

func (i *pgInstance) parse(ctx context.Context, sql string) ([]byte, error) {
	mem := i.mod.Memory()
	in, err := i.call(ctx, "malloc", uint64(len(sql)+1))
	if err != nil || in == 0 || !mem.WriteString(uint32(in), sql) || !mem.WriteByte(uint32(in)+uint32(len(sql)), 0) {
		return nil, errTooDeep
	}
	res, err := i.call(ctx, "malloc", 12) // PgQueryParseResult: tree, stderr, error
	if err != nil || res == 0 {
		return nil, errTooDeep
	}
	ctx = experimental.WithSnapshotter(context.WithValue(ctx, jumpsKey{}, &jumps{top: i.top}))
	if _, err := i.call(ctx, "pg_query_parse", res, in); err != nil {
		return nil, errTooDeep // a trap: stack or memory is exhausted
	}
	// The lowest part of the stack must never have been written to.
	guard, ok := mem.Read(i.stack, pgStackGuard)
	if !ok || !bytes.Equal(guard, untouched[:]) {
		return nil, errTooDeep
	}
	out, ok := mem.Read(uint32(res), 12)
	if !ok {
		return nil, errTooDeep
	}
	var tree []byte
	unparsed := binary.LittleEndian.Uint32(out[8:]) != 0
	if !unparsed {
		if tree, err = cString(mem, binary.LittleEndian.Uint32(out), maxTree); err != nil {
			return nil, err
		}
	}
	if _, err := i.call(ctx, "pg_query_free_parse_result", res); err != nil {
		return nil, errTooDeep
	}
	for _, ptr := range []uint64{res, in} {
		if _, err := i.call(ctx, "free", ptr); err != nil {
			return nil, errTooDeep
		}
	}
	if unparsed {
		return nil, errUnparsed
	}
	return tree, nil
}

// cString copies a string that ends with a NUL.
func cString(mem api.Memory, at, limit uint32) ([]byte, error) {
	n := min(limit+1, mem.Size()-min(at, mem.Size()))
	b, ok := mem.Read(at, n)
	if !ok {
		return nil, errTooDeep
	}
	end := bytes.IndexByte(b, 0)
	if end < 0 {
		return nil, errTooDeep
	}
	return bytes.Clone(b[:end]), nil
}

// jumps are the setjmp points of one parse: PostgreSQL reports errors by
// longjmp.
type jumps struct {
	points []jump
	top    uint32
}

type jump struct {
	snapshot experimental.Snapshot
	result   uint32 // where setjmp's second value goes
	sp       uint32
	stack    []byte
}

type jumpsKey struct{}

// hostModule offers what the module imports from WASIX: setjmp and longjmp.
// Threads and signals trap.
func hostModule(ctx context.Context, rt wazero.Runtime) error {
	const i32, i64 = api.ValueTypeI32, api.ValueTypeI64
	b := rt.NewHostModuleBuilder("wasix_32v1")
	export := func(name string, f api.GoModuleFunc, in, out []api.ValueType) {
		b.NewFunctionBuilder().WithGoModuleFunction(f, in, out).Export(name)
	}
	for name, sig := range map[string][2][]api.ValueType{
		"callback_signal": {{i32, i32}, nil},
		"futex_wait":      {{i32, i32, i32, i32}, {i32}},
		"futex_wake":      {{i32, i32}, {i32}},
		"futex_wake_all":  {{i32, i32}, {i32}},
		"proc_id":         {{i32}, {i32}},
		"thread_exit":     {{i32}, nil},
		"thread_signal":   {{i32, i32}, {i32}},
	} {
		export(name, func(context.Context, api.Module, []uint64) { panic(errors.New(name + " is not offered")) }, sig[0], sig[1])
	}
	export("stack_checkpoint", checkpoint, []api.ValueType{i32, i32}, []api.ValueType{i32})
	export("stack_restore", restore, []api.ValueType{i32, i64}, nil)
	_, err := b.Instantiate(ctx)
	return err
}

var errJump = errors.New("the parser's stack is out of order")

// checkpoint is setjmp(snapshot, result).
func checkpoint(ctx context.Context, mod api.Module, args []uint64) {
	j, ok := ctx.Value(jumpsKey{}).(*jumps)
	sp := uint32(mod.ExportedGlobal("__stack_pointer").Get())
	if !ok || sp > j.top || len(j.points) >= maxJumps {
		panic(errJump)
	}
	live, ok := mod.Memory().Read(sp, j.top-sp)
	if !ok || !mod.Memory().WriteUint64Le(uint32(args[0]), uint64(len(j.points))) || !mod.Memory().WriteUint64Le(uint32(args[1]), 0) {
		panic(errJump)
	}
	snapshot := experimental.GetSnapshotter(ctx).Snapshot()
	j.points = append(j.points, jump{snapshot, uint32(args[1]), sp, bytes.Clone(live)})
	args[0] = 0
}

// restore is longjmp(snapshot, value).
func restore(ctx context.Context, mod api.Module, args []uint64) {
	j, ok := ctx.Value(jumpsKey{}).(*jumps)
	n, ok2 := mod.Memory().ReadUint64Le(uint32(args[0]))
	if !ok || !ok2 || n >= uint64(len(j.points)) {
		panic(errJump)
	}
	p := j.points[n]
	value := args[1]
	mod.ExportedGlobal("__stack_pointer").(api.MutableGlobal).Set(uint64(p.sp))
	if !mod.Memory().Write(p.sp, p.stack) || !mod.Memory().WriteUint64Le(p.result, value) {
		panic(errJump)
	}
	args[0] = 0
	p.snapshot.Restore(args[:1])
}
