package mongod_test
import ("testing";"time";"sitesync/integration/mongod")
func TestTimes(t *testing.T){
 for _, o := range []mongod.Options{{},{},{Standalone:true},{Auth:true},{Members:3},{Members:3}} {
  a:=time.Now(); rs:=mongod.StartTest(t,o); t.Logf("%+v start %v",o,time.Since(a))
  if o.Members!=3 { m:=rs.Members()[0]
   a=time.Now(); must(t,m.Kill()); t.Logf("kill %v",time.Since(a)); a=time.Now(); must(t,m.Restart(deadline(t))); t.Logf("restart %v",time.Since(a))
   a=time.Now(); must(t,m.Stop(deadline(t))); t.Logf("stop %v",time.Since(a)); a=time.Now(); must(t,m.Restart(deadline(t))); t.Logf("restart %v",time.Since(a))
  } else {
   ctx:=deadline(t); client:=connect(t,rs.URI())
   step:=func(n string){t.Logf("%s %v",n,time.Since(a));a=time.Now()}; a=time.Now()
   insert(t,ctx,client,"1"); step("insert")
   f,_:=rs.Primary(ctx); step("primary"); f.Kill(); step("kill"); s,_:=rs.Primary(ctx); step("second"); insert(t,ctx,client,"2"); step("insert"); must(t,f.Restart(ctx)); step("restart"); s.Pause(); step("pause"); rs.Primary(ctx); step("third"); insert(t,ctx,client,"3"); step("insert"); s.Resume(); must(t,rs.StepDown(ctx)); step("stepdown");rs.Primary(ctx); step("fourth"); insert(t,ctx,client,"4"); step("insert")
  }
  a=time.Now(); rs.Stop(); t.Logf("Stop %v", time.Since(a))
 }
}
