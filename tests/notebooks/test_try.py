import time
def test_try(kernel, finetune):
    t=time.monotonic()
    cell = kernel.run(finetune("first", steps=600))
    print(time.monotonic()-t, cell.error, cell.text, [o.get('data',{}).keys() for o in cell.outputs])
    kernel.until(lambda: kernel.state(cell.panel)["over"])
    print(kernel.state(cell.panel))
    print(time.monotonic()-t)
    print(cell.html[:3000])
