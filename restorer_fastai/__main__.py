"`python -m restorer_fastai` is `restorer`: for launchers that start modules, such as `accelerate launch -m restorer_fastai train ...`. Written by hand."
if __name__ == '__main__':
    from restorer_fastai.cli import app
    app(prog_name='restorer')
